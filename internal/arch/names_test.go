package arch

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

// forbidden imports, each with what to use instead.
var forbidden = map[string]string{
	"github.com/stretchr/testify":                    "tests compare with cmp.Diff and say what they got and wanted",
	"github.com/onsi/gomega":                         "tests compare with cmp.Diff and say what they got and wanted",
	"github.com/onsi/ginkgo":                         "tests are tables of the standard library",
	"sigs.k8s.io/controller-runtime/pkg/client/fake": "a fake API has no admission, no defaults and no conflicts: internal/kube/kubetest starts a real one",
	"k8s.io/client-go/kubernetes/fake":               "a fake API has no admission, no defaults and no conflicts: internal/kube/kubetest starts a real one",
	"k8s.io/client-go/dynamic/fake":                  "a fake API has no admission, no defaults and no conflicts: internal/kube/kubetest starts a real one",
	"sigs.k8s.io/controller-runtime/pkg/envtest":     "internal/kube/kubetest starts the Kubernetes that ships",
	"github.com/pkg/errors":                          "errors are wrapped with fmt.Errorf and %w",
	"k8s.io/kubernetes":                              "it pins the versions of all that it imports: it lives in the modules below kube/",
}

var bans = []rule{
	{
		name:    "no forbidden import",
		because: "each has something better, named above",
		find: each(func(f *file) []breach {
			var found []breach
			for _, imports := range f.imports {
				for prefix, instead := range forbidden {
					if below(imports.path, prefix) {
						found = append(found, f.breach(imports.pos, "imports %s: %s", imports.path, instead))
					}
				}
			}
			return found
		}),
	},
	{
		name:    "only cmd begins a context",
		because: "a context that begins further down ends with nobody: what it started outlives whoever asked for it",
		find:    outsideCmd("context", "Background", "TODO"),
	},
	{
		name:    "only cmd ends the process",
		because: "an exit skips every defer above it: children, mounts and locks stay",
		find:    outsideCmd("os", "Exit"),
	},
	{
		name:    "nobody logs and dies",
		because: "log.Fatal is an exit, and log.Panic a panic with a costume",
		find:    outsideCmd("log", "Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln"),
	},
	{
		name:    "nobody sleeps",
		because: "whoever sleeps does not notice that the world has changed or that it should stop: wait on a watch, or select on a timer and the context",
		find: each(func(f *file) []breach {
			if f.test() {
				return nil
			}
			return f.calls("time", "Sleep")
		}),
	},
	{
		name:    "a manager says which queue it has",
		because: "the priority queue of controller-runtime 0.24.1, its default, can deadlock when it shuts down: what should end at once takes 30 s, and then fails (0.25 mends it, and wants the libraries of Kubernetes 1.37)",
		find:    each(queueless),
	},
	{
		name:    "no init functions",
		because: "what an import does in secret cannot be ordered, configured or tested: wiring is plain Go in hub.go and agent.go",
		find: each(func(f *file) []breach {
			if f.generated() {
				return nil
			}
			var found []breach
			for _, declared := range f.syntax.Decls {
				if function, ok := declared.(*ast.FuncDecl); ok && function.Recv == nil && function.Name.Name == "init" {
					found = append(found, f.breach(function.Pos(), "has a func init"))
				}
			}
			return found
		}),
	},
}

// outsideCmd finds uses of a package's names in code that ships and is not a main.
func outsideCmd(pkg string, names ...string) func([]*file) []breach {
	return each(func(f *file) []breach {
		if f.test() || below(f.dir, "cmd") {
			return nil
		}
		return f.calls(pkg, names...)
	})
}

// vague names of packages and files. sync is the standard library's, connect says nothing that tunnel and session do
// not say better.
var vague = []string{
	"util", "utils", "common", "helper", "helpers", "misc", "base", "core", "types", "manager", "pkg", "sync", "connect",
}

// longestMain is how long a main.go may be: it wires nothing, it calls.
const longestMain = 60

var names = []rule{
	{
		name:    "no vague names",
		because: "a package that answers no question attracts whatever has no place: name it after its question",
		find: each(func(f *file) []breach {
			var found []breach
			stem := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.path), ".go"), "_test")
			for _, name := range []string{stem, path.Base(f.dir), strings.TrimSuffix(f.syntax.Name.Name, "_test")} {
				if slices.Contains(vague, name) {
					found = append(found, f.breach(f.syntax.Name.Pos(), "is called %s", name))
				}
			}
			return found
		}),
	},
	{
		name:    "every package starts with its sentence",
		because: "the question that a package answers is the first thing that its reader needs: \"// Package NAME answers: …\" (\"// Command NAME …\" for a main)",
		find:    sentences,
	},
	{
		name:    "a main is short",
		because: "what stands in a main cannot be tested",
		find: each(func(f *file) []breach {
			lines := f.fset.Position(f.syntax.FileEnd).Line
			if !below(f.dir, "cmd") || path.Base(f.path) != "main.go" || lines <= longestMain {
				return nil
			}
			return []breach{f.breach(f.syntax.Pos(), "has %d lines, more than %d", lines, longestMain)}
		}),
	},
}

// sentences finds packages without one.
func sentences(files []*file) []breach {
	first := map[string]*file{} // of each folder: one that ships, where there is one
	spoken := map[string]bool{}
	for _, f := range files {
		if known := first[f.dir]; known == nil || strings.HasSuffix(known.path, "_test.go") {
			first[f.dir] = f
		}
		spoken[f.dir] = spoken[f.dir] || speaks(f)
	}
	var found []breach
	for dir, f := range first {
		if !spoken[dir] {
			found = append(found, f.breach(f.syntax.Pos(), "package %s has no sentence", dir))
		}
	}
	slices.SortFunc(found, func(a, b breach) int { return strings.Compare(a.file.path, b.file.path) })
	return found
}

func speaks(f *file) bool {
	name := f.syntax.Name.Name
	beginning := "Package " + name + " "
	if name == "main" {
		beginning = "Command "
	}
	return f.syntax.Doc != nil && strings.HasPrefix(f.syntax.Doc.Text(), beginning)
}

// queueless finds managers in files that do not say UsePriorityQueue.
func queueless(f *file) []breach {
	said := false
	ast.Inspect(f.syntax, func(node ast.Node) bool {
		if pair, ok := node.(*ast.KeyValueExpr); ok {
			key, ok := pair.Key.(*ast.Ident)
			said = said || ok && key.Name == "UsePriorityQueue"
		}
		return !said
	})
	if said {
		return nil
	}
	return f.calls("sigs.k8s.io/controller-runtime", "NewManager")
}
