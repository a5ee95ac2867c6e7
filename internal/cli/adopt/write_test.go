package adopt

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"umbel.dev/umbel/internal/cli/adopt/origin"
	"umbel.dev/umbel/internal/cli/client"
)

// Names come from the cluster: no manifest is written outside of the folder.
func TestManifestsStayInTheirFolder(t *testing.T) {
	top := t.TempDir()
	own := filepath.Join(top, "a", "b", "own")
	o := &Options{Factory: &client.Factory{}}
	o.Write = own
	var out bytes.Buffer
	o.Out, o.Err = &out, &out
	write := func(manifest string) error {
		return o.writeManifests(&origin.Managed{Manifests: []json.RawMessage{json.RawMessage(manifest)}})
	}
	if err := write(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"shop"}}`); err != nil {
		t.Fatal(err)
	}
	for _, manifest := range []string{
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x/../../../y","namespace":"shop"}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"../.."}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"/tmp"}}`,
	} {
		_ = write(manifest) // be it refused, or be it a file in the folder
	}
	err := filepath.WalkDir(top, func(path string, entry os.DirEntry, err error) error {
		if within, relErr := filepath.Rel(own, path); err == nil && !entry.IsDir() && (relErr != nil || !filepath.IsLocal(within)) {
			t.Errorf("%s was written", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
