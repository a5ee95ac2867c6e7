package cli_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/cli"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/output"
)

const root = "../../"

// pages are README.md and the pages of docs, by their paths below root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		paths, err := filepath.Glob(root + pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %d pages (%v)", pattern, len(paths), err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			found[strings.TrimPrefix(path, root)] = string(text)
		}
	}
	return found
}

var (
	link    = regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]*))?\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	unsaid  = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	command = regexp.MustCompile("(?m)^umbel [^\n]*|`umbel [^`]*`")
	advised = regexp.MustCompile("(?m)^  umbel [^\n]*|`umbel [^`]*`") // an example of a help is indented
)

// TestLinksLeadSomewhere: every link of the docs to a page or a heading of a page.
func TestLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	for path, text := range all {
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			to := filepath.Join(filepath.Dir(path), found[1])
			switch {
			case strings.Contains(found[1], "://"):
				continue
			case found[1] == "":
				to = path
			}
			if _, err := os.Stat(root + to); err != nil {
				t.Errorf("%s: %s leads nowhere", path, found[0])
			}
			if found[2] != "" && !slices.Contains(anchors(all[to]), found[2]) {
				t.Errorf("%s: %s names a heading that %s has not", path, found[0], to)
			}
		}
	}
	for path := range all {
		if folder, name := filepath.Split(path); folder == "docs/operate/" && name != "README.md" && !strings.Contains(all["docs/operate/README.md"], "]("+name+")") {
			t.Errorf("%s is not in the list of runbooks", path)
		}
	}
}

// anchors are the headings of a page as links name them.
func anchors(page string) (names []string) {
	for _, found := range heading.FindAllStringSubmatch(page, -1) {
		names = append(names, strings.ReplaceAll(unsaid.ReplaceAllString(strings.ToLower(found[1]), ""), " ", "-"))
	}
	return names
}

// TestCommandsOfTheDocsExist: each command that a page shows, with its flags.
func TestCommandsOfTheDocsExist(t *testing.T) {
	seen := 0
	for path, text := range pages(t) {
		for _, found := range command.FindAllString(text, -1) {
			if err := exists(found); err != nil {
				t.Errorf("%s: %s: %v", path, found, err)
			}
			seen++
		}
	}
	if seen < 200 {
		t.Errorf("only %d commands were found", seen)
	}
}

// TestCommandsThatUmbelAdvisesExist: each command in what the programs write and in the examples of their help, with its flags.
func TestCommandsThatUmbelAdvisesExist(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(root+"internal", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, text := range literals(file) {
			for _, found := range advised.FindAllString(text, -1) {
				if err := exists(strings.TrimSpace(found)); err != nil {
					t.Errorf("%s: %s: %v", strings.TrimPrefix(path, root), found, err)
				}
				seen++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 400 {
		t.Errorf("only %d commands were found", seen)
	}
}

// literals are the strings of a file. Those that are put together with + are one, with %v for what is not written there.
func literals(file *ast.File) (texts []string) {
	var whole func(ast.Expr) string
	whole = func(expr ast.Expr) string {
		switch e := expr.(type) {
		case *ast.BasicLit:
			if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
				return text
			}
		case *ast.BinaryExpr:
			return whole(e.X) + whole(e.Y)
		}
		return "%v"
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch e := n.(type) {
		case *ast.BasicLit:
			texts = append(texts, whole(e))
		case *ast.BinaryExpr:
			texts = append(texts, whole(e))
			return e.Op != token.ADD
		}
		return true
	})
	return texts
}

// exists says what is wrong with a command line.
func exists(line string) error {
	words := strings.Fields(strings.Split(strings.Trim(line, "`"), " | ")[0])[1:]
	top := cli.NewRoot(client.New(output.Streams{Out: io.Discard, Err: io.Discard}))
	cmd, rest, err := top.Find(words)
	if err == nil && cmd.HasSubCommands() && len(rest) > 0 && !strings.ContainsAny(rest[0][:1], "-%") {
		err = cmd.ValidateArgs(rest[:1])
	}
	if err != nil {
		return err
	}
	passedOn := cmd.CommandPath() == "umbel kubectl"
	if passedOn && len(rest) > 1 && rest[1] != "--" {
		return fmt.Errorf("%q would be the cluster: write CLUSTER -- and then what kubectl gets", rest[0])
	}
	for _, word := range rest {
		if word == "--" || strings.HasPrefix(word, "#") || passedOn {
			break
		}
		name, ok := strings.CutPrefix(word, "--")
		name = strings.Trim(strings.FieldsFunc(name+"=", func(r rune) bool { return r == '=' || r == '`' || r == ',' })[0], "\"'])")
		if ok && name != "help" && cmd.Flag(name) == nil {
			return fmt.Errorf("there is no --%s", name)
		}
	}
	return nil
}

// TestFieldsAreDocumented: the page of each kind names every field of its spec.
func TestFieldsAreDocumented(t *testing.T) {
	all := pages(t)
	paths, err := fs.Glob(deploy.CRDs, "crds/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d kinds (%v)", len(paths), err)
	}
	for _, path := range paths {
		raw, err := fs.ReadFile(deploy.CRDs, path)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(raw, &crd); err != nil {
			t.Fatal(err)
		}
		kind := strings.ToLower(crd.Spec.Names.Kind)
		page, ok := all["docs/kinds/"+kind+".md"]
		if !ok {
			t.Errorf("%s has no page", crd.Spec.Names.Kind)
			continue
		}
		page += all["docs/kinds/package.md"] + all["docs/kinds/rollout.md"] // what a Release has of a Package, and a Package of a Rollout
		for _, field := range fieldsOf(crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"], "spec") {
			name := field[strings.LastIndex(field, ".")+1:]
			if strings.Contains(field, "clusterSelector.") {
				continue // a selector of Kubernetes' own
			}
			if !regexp.MustCompile(`\b` + name + `\b`).MatchString(page) {
				t.Errorf("docs/kinds/%s.md does not speak of %s", kind, field)
			}
		}
	}
}

// fieldsOf are the fields of a schema and of all below it.
func fieldsOf(schema apiextensionsv1.JSONSchemaProps, path string) (fields []string) {
	for name, below := range schema.Properties {
		fields = append(append(fields, path+"."+name), fieldsOf(below, path+"."+name)...)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		fields = append(fields, fieldsOf(*schema.Items.Schema, path)...)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		fields = append(fields, fieldsOf(*schema.AdditionalProperties.Schema, path)...)
	}
	return fields
}
