package helm_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/internal/content/registrytest"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/helm"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

func newReader(t *testing.T, limits source.Limits) source.Reader {
	return helm.New(helm.Config{Dir: t.TempDir(), Limits: limits})
}

func ref(url, version string) source.Ref {
	if version == "" {
		version = ">=0.0.0-0"
	}
	return source.Ref{Kind: source.Helm, URL: url, Chart: "shop", Range: version, Secret: "team/charts"}
}

// repository is a Helm repository with one chart.
type repository struct{ *sourcetest.Charts }

func (r repository) Publish(version string, files map[string]string) {
	r.Add("shop", files, []string{version})
}

func (r repository) Ref(version string) source.Ref { return ref(r.URL, version) }

// registry is an OCI registry with one chart.
type registry struct{ *sourcetest.Registry }

func (r registry) Publish(version string, files map[string]string) {
	r.PushChart("charts", "shop", version, files)
}

func (r registry) Ref(version string) source.Ref { return ref("oci://"+r.Host+"/charts", version) }

func TestConformance(t *testing.T) {
	for name, remote := range map[string]func(*testing.T) sourcetest.Remote{
		"http": func(t *testing.T) sourcetest.Remote { return repository{sourcetest.NewCharts(t)} },
		"oci": func(t *testing.T) sourcetest.Remote {
			return registry{sourcetest.NewRegistry(t, registrytest.Password)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Conformance(t, sourcetest.Setup{Reader: newReader, Remote: remote, Adds: []string{sourcetest.ChartFile}})
		})
	}
}

// TestNothingIsFetchedTwice: an index that did not change and a chart that is here are not sent again, also by a server that says of
// a file no more than when it was written.
func TestNothingIsFetchedTwice(t *testing.T) {
	r := repository{sourcetest.NewCharts(t)}
	reader := newReader(t, source.Limits{})
	right, _ := r.Credentials()
	ask := func(want string) {
		t.Helper()
		at, err := reader.Resolve(t.Context(), r.Ref(""), right)
		if err != nil || at.Name != want {
			t.Fatalf("got %+v, %v; want %s", at, err, want)
		}
	}
	r.Publish("1.0.0", nil)
	r.age(t, time.Hour)
	for range 3 {
		ask("1.0.0")
	}
	r.Publish("1.1.0", nil) // a moment ago: who looks again within that second must not miss what comes after
	ask("1.1.0")
	r.Publish("1.2.0", nil)
	ask("1.2.0")
	r.age(t, time.Minute)
	for range 3 {
		ask("1.2.0")
	}
	r.age(t, time.Hour) // somebody put an older one back
	for range 3 {
		ask("1.2.0")
	}
	const want = "index.yaml shop-1.0.0.tgz index.yaml shop-1.1.0.tgz index.yaml shop-1.2.0.tgz index.yaml index.yaml"
	if got := r.Sent(); got != want {
		t.Errorf("fetched %s, want %s", got, want)
	}
}

// age makes an index that was written so long ago.
func (r repository) age(t *testing.T, by time.Duration) {
	t.Helper()
	at := time.Now().Add(-by)
	if err := os.Chtimes(filepath.Join(r.Dir, "index.yaml"), at, at); err != nil {
		t.Fatal(err)
	}
}

// TestARepositoryThatLies: about where a chart is, about its digest, and about what there is.
func TestARepositoryThatLies(t *testing.T) {
	r := repository{sourcetest.NewCharts(t)}
	right, _ := r.Credentials()
	var heard []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		heard = append(heard, req.Header.Get("Authorization"))
		http.NotFound(w, req)
	}))
	defer other.Close()
	r.Add("shop", nil, []string{"1.0.0"}, "--url", other.URL)
	if _, err := newReader(t, source.Limits{}).Resolve(t.Context(), r.Ref(""), right); err == nil {
		t.Error("a chart that is not there was read")
	}
	if got := strings.Join(heard, "|"); got != "" || len(heard) != 1 {
		t.Errorf("another host was told %q in %d requests, want no credentials in one", got, len(heard))
	}

	// Somebody packs a version again, and forgets the index.
	r.Publish("1.1.0", map[string]string{"values.yaml": "a: 1"})
	again := filepath.Join(sourcetest.NewHelm(t).Package("shop", map[string]string{"values.yaml": "a: 2"}, "1.1.0"), "shop-1.1.0.tgz")
	if err := os.Rename(again, filepath.Join(r.Dir, "shop-1.1.0.tgz")); err != nil {
		t.Fatal(err)
	}
	if _, err := newReader(t, source.Limits{}).Resolve(t.Context(), r.Ref(""), right); err == nil || !strings.Contains(err.Error(), "is not the one that the index names") {
		t.Errorf("another archive than the index names: got %v", err)
	}
	unknown := r.Ref("")
	unknown.Chart = "nothing"
	if _, err := newReader(t, source.Limits{}).Resolve(t.Context(), unknown, right); err == nil || !strings.Contains(err.Error(), `no chart "nothing"`) {
		t.Errorf("a chart that is not in the index: got %v", err)
	}
}

// TestAnIndexOfThousands: of many versions the newest one that is allowed is found, and it alone is fetched.
func TestAnIndexOfThousands(t *testing.T) {
	r := repository{sourcetest.NewCharts(t)}
	right, _ := r.Credentials()
	var versions []string
	for i := range 2000 {
		versions = append(versions, fmt.Sprintf("%d.%d.0", i/1000, i%1000))
	}
	r.Add("shop", nil, versions)
	at, err := newReader(t, source.Limits{}).Resolve(t.Context(), r.Ref("<1"), right)
	if err != nil || at.Name != "0.999.0" {
		t.Errorf("got %+v, %v; want 0.999.0", at, err)
	}
	if got := r.Sent(); got != "index.yaml shop-0.999.0.tgz" {
		t.Errorf("fetched %s", got)
	}
}
