package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing/fstest"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/decide"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/delivery/variable"
	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

const (
	renderPackages = 100
	renderClusters = 1000
	renderClasses  = 20
)

// measureRender renders a monorepo of 100 Packages with kustomize for 1,000 clusters in 20 classes, in processes of their own
// as a hub does, and then a commit that feeds nobody, and one that feeds one.
func measureRender(ctx context.Context, _ *rig.Fleet, r *report.Report) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	program := filepath.Join(rig.Root(), "build", "bin", "umbel")
	dir, err := os.MkdirTemp("", "umbel-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what stays of it is of no use, and in nobody's way
	cache, err := render.NewCache(render.CacheConfig{Dir: dir, Workers: render.NewWorkers(ctx, func() *exec.Cmd { return render.Command(program) }, render.DefaultLimits, runtime.GOMAXPROCS(0))})
	if err != nil {
		return err
	}
	files := monorepo()
	for _, commit := range []struct {
		name, changed, to string
		folders, outputs  float64 // the goals
	}{
		{name: "the first commit", folders: renderPackages, outputs: renderPackages * renderClasses},
		{name: "a commit that feeds nobody", changed: "README.md", to: "hello"},
		{name: "a commit that feeds one Package", changed: "p7/own.yaml", to: renderMap("own", "changed"), folders: 1, outputs: renderClasses},
	} {
		if commit.changed != "" {
			files[commit.changed] = &fstest.MapFile{Data: []byte(commit.to)}
		}
		before, began := cache.Counts(), time.Now()
		if err := renderAll(cache, files); err != nil {
			return err
		}
		took, after := time.Since(began), cache.Counts()
		r.Lower("folders rendered, "+commit.name, float64(after.Sources-before.Sources), "", commit.folders)
		r.Lower("outputs rendered, "+commit.name, float64(after.Outputs-before.Outputs), "", commit.outputs)
		r.Lower("time, "+commit.name, took.Seconds(), "s", 0)
	}
	return nil
}

func renderMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: shop}\ndata: {value: '%s'}\n", name, value)
}

func monorepo() fstest.MapFS {
	files := fstest.MapFS{}
	write := func(name, text string) { files[name] = &fstest.MapFile{Data: []byte(text)} }
	write("base/kustomization.yaml", "resources: [base.yaml]\n")
	write("base/base.yaml", renderMap("base", "in ${cluster.labels.region}"))
	for p := range renderPackages {
		write(fmt.Sprintf("p%d/kustomization.yaml", p), fmt.Sprintf("namePrefix: p%d-\nresources: [../base, own.yaml]\n", p))
		text := renderMap("own", "x")
		for i := range 18 {
			text += "---\n" + renderMap(fmt.Sprintf("more-%d", i), "y")
		}
		write(fmt.Sprintf("p%d/own.yaml", p), text)
	}
	return files
}

// renderAll renders every Package for every cluster.
func renderAll(cache *render.Cache, files fstest.MapFS) error {
	var clusters []decide.Cluster
	var facts []variable.Cluster
	for i := range renderClusters {
		name, labels := v1alpha1.ClusterName(fmt.Sprintf("c%d", i)), map[string]string{"region": fmt.Sprintf("r%d", i%renderClasses)}
		clusters = append(clusters, decide.Cluster{Name: name, Labels: labels})
		facts = append(facts, variable.Cluster{Name: name, Labels: labels})
	}
	for p := range renderPackages {
		folder := fmt.Sprintf("p%d", p)
		family, err := render.Variants(cache.Folder(files, folder), nil, facts)
		if err != nil {
			return err
		}
		classes, _ := decide.Classes(family.Variables, clusters)
		for _, class := range classes {
			_, err := cache.Output(family, class.Values, folder, func(render.Output) (bool, error) { return true, nil }, func() (render.Output, error) {
				entries, err := family.For(class.Values)
				if err != nil {
					return render.Output{}, err
				}
				blob, err := bundle.Encode(entries)
				return render.Output{Size: int64(len(blob)), Objects: int32(len(entries))}, err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
