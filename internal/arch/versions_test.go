package arch

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/modfile"
)

// otherVersions are the modules that a go.mod may have in another version than the main module, by the folder of the go.mod: of what
// begins so. What little is compiled with them is compiled again.
var otherVersions = map[string][]string{
	// Kubernetes of another minor has libraries of that minor.
	"kube/v1.35":              {"k8s.io/", "github.com/golang-jwt/jwt/v5"},
	"test/peers/gitopsengine": {"k8s.io/"},
	// MetalLB does not compile with newer ones, and shares those.
	"kube/balancer": {"k8s.io/", "sigs.k8s.io/controller-runtime", "sigs.k8s.io/apiserver-network-proxy/"},
	// Cluster API's provider for vSphere is of Cluster API 1.13, which is not of Kubernetes 1.36 yet, and shares them too.
	"tools/capv": {"k8s.io/", "sigs.k8s.io/controller-runtime"},
	// So is that for AWS, whose clients are of AWS' libraries as they were together.
	"tools/capa": {"k8s.io/", "sigs.k8s.io/controller-runtime", "github.com/aws/"},
	// That for Azure is of Cluster API 1.12.
	"tools/capz": {"k8s.io/", "sigs.k8s.io/controller-runtime"},
	// The main module has clouds' libraries because Prometheus' configuration has fields of them (ADR 0071), and calls none of it. Nothing
	// but that is above them there, and in these modules little.
	"kube/v1.36": {"github.com/golang-jwt/jwt/v5"},
	"tools/dex":  {"github.com/googleapis/", "google.golang.org/api"},
	// What needs more than the main module has, and has few packages above it.
	"kube/dns":       {"github.com/prometheus/", "google.golang.org/genproto/"},
	"test/peers":     {"github.com/fluxcd/cli-utils"},
	"tools/mux":      {"golang.org/x/"},
	"tools/registry": {"github.com/grpc-ecosystem/grpc-gateway/v2", "go.opentelemetry.io/", "google.golang.org/genproto/"},
	"tools/sops": {
		"github.com/cloudflare/circl", "github.com/felixge/httpsnoop", "github.com/json-iterator/go", "go.opentelemetry.io/", "google.golang.org/genproto/",
		"cloud.google.com/go/", "github.com/Azure/", "github.com/AzureAD/", "github.com/aws/", "github.com/googleapis/", "google.golang.org/api", // as above
	},
}

// TestOneVersionOfEach holds the modules together: a library that two of them have in one version is compiled once, and in two
// versions twice, with all that is above it. Kubernetes' libraries take minutes.
func TestOneVersionOfEach(t *testing.T) {
	got, err := strayVersions(os.DirFS("../.."), otherVersions)
	if err != nil {
		t.Fatal(err)
	}
	for _, stray := range got {
		t.Errorf("%s\n\tbecause a library in two versions is compiled twice: `go get` brings the lower one up, and an exclude in the go.mod with the higher one that down", stray)
	}
}

func TestStrayVersionsAreFound(t *testing.T) {
	got, err := strayVersions(fstest.MapFS{
		"go.mod":          {Data: []byte("module m\nrequire (\n a.b/c v1.0.0\n a.b/d v1.0.0\n a.b/e v1.0.0\n)\n")},
		"one/go.mod":      {Data: []byte("module one\nrequire (\n a.b/c v1.0.0\n a.b/d v1.1.0\n a.b/e v1.2.0\n a.b/f v1.0.0\n)\nreplace a.b/e => a.b/e v1.0.0\n")},
		"two/go.mod":      {Data: []byte("module two\nrequire a.b/c v1.3.0\n")},
		"build/x/go.mod":  {Data: []byte("module x\nrequire a.b/c v1.3.0\n")},
		"one/testdata/go": {Data: []byte("none")},
	}, map[string][]string{"two": {"a.b/"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		"one/go.mod: a.b/d v1.1.0, which the main module has as v1.0.0", "one/go.mod: a.b/e v1.2.0, which the main module has as v1.0.0",
	}, got); diff != "" {
		t.Error(diff)
	}
}

// strayVersions returns what the modules of root have in another version than the main module, and may not.
func strayVersions(root fs.FS, may map[string][]string) ([]string, error) {
	own, err := versions(root, "go.mod")
	if err != nil {
		return nil, err
	}
	var found []string
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (name == "build" || strings.HasPrefix(name, ".") && name != ".") {
			return fs.SkipDir
		}
		dir := path.Dir(name)
		if path.Base(name) != "go.mod" || dir == "." {
			return nil
		}
		theirs, err := versions(root, name)
		if err != nil {
			return err
		}
		for lib, version := range theirs {
			excused := slices.ContainsFunc(may[dir], func(prefix string) bool { return strings.HasPrefix(lib, prefix) })
			if own[lib] != "" && own[lib] != version && !excused {
				found = append(found, fmt.Sprintf("%s: %s %s, which the main module has as %s", name, lib, version, own[lib]))
			}
		}
		return nil
	})
	slices.Sort(found)
	return found, err
}

// versions returns what a go.mod requires. What replaces it does not count: a package is kept by the version that was required.
func versions(root fs.FS, name string) (map[string]string, error) {
	raw, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	parsed, err := modfile.Parse(name, raw, nil)
	if err != nil {
		return nil, err
	}
	of := map[string]string{}
	for _, r := range parsed.Require {
		of[r.Mod.Path] = r.Mod.Version
	}
	return of, nil
}
