package main

import (
	"path/filepath"
	"testing"
	"testing/fstest"

	"umbel.dev/umbel/internal/delivery/render"
)

// TestEachClassIsRenderedOnce counts what the benchmark measures: 100 Packages for 1,000 clusters in 20 classes are 100
// folders and 2,000 outputs, and not 100,000; a commit renders what it feeds.
func TestEachClassIsRenderedOnce(t *testing.T) {
	cache, err := render.NewCache(render.CacheConfig{Dir: filepath.Join(t.TempDir(), "rendered")})
	if err != nil {
		t.Fatal(err)
	}
	files := monorepo()
	for _, commit := range []struct {
		reason, changed  string
		name             string
		folders, outputs int
	}{
		{reason: "the first commit", folders: renderPackages, outputs: renderPackages * renderClasses},
		{reason: "a commit that feeds nobody", changed: "README.md", name: "none"},
		{reason: "a commit that feeds one Package", changed: "p7/own.yaml", name: "own", folders: 1, outputs: renderClasses},
		{reason: "a commit to what all share", changed: "base/base.yaml", name: "base", folders: renderPackages, outputs: renderPackages * renderClasses},
	} {
		if commit.changed != "" {
			files[commit.changed] = &fstest.MapFile{Data: []byte(renderMap(commit.name, "changed in ${cluster.labels.region}"))}
		}
		before := cache.Counts()
		if err := renderAll(cache, files); err != nil {
			t.Fatal(err)
		}
		after := cache.Counts()
		if folders, outputs := after.Sources-before.Sources, after.Outputs-before.Outputs; folders != commit.folders || outputs != commit.outputs {
			t.Errorf("%s rendered %d folders and %d outputs, want %d and %d", commit.reason, folders, outputs, commit.folders, commit.outputs)
		}
	}
}
