// Package arch answers: does the code still have the shape that was agreed on? It holds tests only: the arrows of the
// tree in CONTRIBUTING.md, and what is rejected on sight, each with its reason.
//
//  1. Parse every Go file of the main module, without building or listing anything: less than a second.
//  2. Hand the files to each rule (rules_test.go, names_test.go); a rule returns what breaks it.
//  3. A broken rule fails with file, line, what is wrong, and why the rule is there.
//
// Every rule has a test of its own with code that breaks it: a rule that catches nothing would pass forever.
package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "umbel.dev/umbel"

// file is one parsed Go file.
type file struct {
	path    string // from the root of the repository
	dir     string
	syntax  *ast.File
	imports []imported
	fset    *token.FileSet
}

type imported struct {
	path string
	pos  token.Pos
}

// test says whether only tests see the file: a _test.go file, or one of a package that exists for tests.
func (f *file) test() bool {
	return strings.HasSuffix(f.path, "_test.go") || testOnly(f.dir)
}

// testOnly says whether a folder's package exists for tests: its name ends with test, or it lies below test/.
func testOnly(dir string) bool {
	return dir == "test" || strings.HasPrefix(dir, "test/") || strings.HasSuffix(dir, "test")
}

func (f *file) generated() bool { return ast.IsGenerated(f.syntax) }

// breach is one place where a rule is broken.
type breach struct {
	file *file
	pos  token.Pos
	what string
}

func (b breach) String() string {
	return fmt.Sprintf("%s:%d: %s", b.file.path, b.file.fset.Position(b.pos).Line, b.what)
}

func (f *file) breach(pos token.Pos, format string, args ...any) breach {
	return breach{file: f, pos: pos, what: fmt.Sprintf(format, args...)}
}

// rule is something that holds for the whole tree.
type rule struct {
	name    string
	because string
	find    func([]*file) []breach
}

// each makes a rule's search of a search in one file.
func each(find func(*file) []breach) func([]*file) []breach {
	return func(files []*file) []breach {
		var found []breach
		for _, f := range files {
			found = append(found, find(f)...)
		}
		return found
	}
}

var rules = slices.Concat(arrows, bans, names)

func TestTheTree(t *testing.T) {
	files := load(t, os.DirFS("../.."))
	if len(files) < 50 {
		t.Fatalf("found only %d Go files: is this the root of the repository?", len(files))
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, b := range r.find(files) {
				t.Errorf("%s\n\tbecause %s", b, r.because)
			}
		})
	}
}

// load parses the Go files of the module in root.
func load(t *testing.T, root fs.FS) []*file {
	t.Helper()
	fset := token.NewFileSet()
	var files []*file
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skip(root, name)
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parse(fset, root, name)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// skip leaves out what is not of the main module: other modules, what was built, hidden folders and test data.
func skip(root fs.FS, dir string) error {
	if dir == "." {
		return nil
	}
	base := path.Base(dir)
	if base == "testdata" || dir == "build" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return fs.SkipDir
	}
	if _, err := fs.Stat(root, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func parse(fset *token.FileSet, root fs.FS, name string) (*file, error) {
	content, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	syntax, err := parser.ParseFile(fset, name, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &file{path: name, dir: path.Dir(name), syntax: syntax, fset: fset}
	for _, spec := range syntax.Imports {
		imports, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		f.imports = append(f.imports, imported{path: imports, pos: spec.Pos()})
	}
	return f, nil
}

// calls finds uses of PACKAGE.NAME, such as os.Exit, in a file that imports the package.
func (f *file) calls(pkg string, names ...string) []breach {
	local := f.localName(pkg)
	if local == "" {
		return nil
	}
	var found []breach
	ast.Inspect(f.syntax, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		on, ok := selector.X.(*ast.Ident)
		if ok && on.Name == local && slices.Contains(names, selector.Sel.Name) {
			found = append(found, f.breach(selector.Pos(), "uses %s.%s", pkg, selector.Sel.Name))
		}
		return true
	})
	return found
}

// localName is how a file calls a package that it imports, or nothing.
func (f *file) localName(pkg string) string {
	for i, imports := range f.imports {
		if imports.path != pkg {
			continue
		}
		if name := f.syntax.Imports[i].Name; name != nil {
			return name.Name
		}
		return path.Base(pkg)
	}
	return ""
}
