package render

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMain lets the test's own program be the process that renders.
func TestMain(m *testing.M) {
	switch os.Getenv("UMBEL_TEST_WORKER") {
	case "":
		os.Exit(m.Run())
	case "escapes", "greed":
		if err := confine(256 << 20); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		map[string]func(){"escapes": escapes, "greed": greed}[os.Getenv("UMBEL_TEST_WORKER")]()
	default:
		if err := Work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

var testLimits = Limits{Time: time.Minute, Memory: 256 << 20, Output: 16 << 20}

func workers(t *testing.T, limits Limits) *Workers {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	return NewWorkers(ctx, func() *exec.Cmd {
		c := exec.Command(os.Args[0])
		c.Env = []string{"UMBEL_TEST_WORKER=1"}
		return c
	}, limits, 2)
}

// TestAWorkerGivesTheSame: what a process of its own makes of a source, objects or error, is what this one makes of it.
func TestAWorkerGivesTheSame(t *testing.T) {
	cache := newCache(t, workers(t, testLimits))
	for reason, files := range map[string]map[string]string{
		"plain files":             {"a.yaml": config("a") + "---\n" + config("b") + "data: {n: '1', big: '9007199254740993'}\nx: {i: 9007199254740993, f: 1.50}\n", "b/c.json": `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}`},
		"a kustomization":         {"kustomization.yaml": "namePrefix: x-\nresources: [a.yaml, deep]\n", "a.yaml": config("a"), "deep/kustomization.yaml": "resources: [b.yaml]\n", "deep/b.yaml": config("b")},
		"variables and selectors": {"a.yaml": annotated("ConfigMap", "a", "umbel.dev/cluster-selector: env=prod", "data: {x: '${cluster.name}'}")},
		"nothing":                 {"README.md": "x"},
		"invalid YAML":            {"a.yaml": "kind: {\n"},
		"a missing file":          {"kustomization.yaml": "resources: [a.yaml]\n"},
		"a remote base":           {"kustomization.yaml": "resources: ['https://example.org/x']\n"},
		"a link":                  {"a.yaml": "-> b"},
		"a link to a folder":      {"a": "-> b", "b/c.yaml": config("c")},
	} {
		here, wantErr := Objects(tree(files), ".")
		there, err := cache.Folder(tree(files), ".")(Choice{})
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Errorf("%s: a worker says %v, want %v", reason, err, wantErr)
		}
		if err != nil || wantErr != nil {
			continue
		}
		if diff := cmp.Diff(here.Variables, there.Variables); diff != "" {
			t.Errorf("%s: variables: %s", reason, diff)
		}
		values := make([]string, len(here.Variables))
		for i, name := range here.Variables {
			values[i] = "x"
			if strings.HasPrefix(name, "cluster.matches") {
				values[i] = "true"
			}
		}
		want, err := here.For(values)
		if err != nil {
			t.Fatal(err)
		}
		got, err := there.For(values)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-here +worker):\n%s", reason, diff)
		}
	}
	if _, err := cache.Folder(unreadable{tree(map[string]string{"a.yaml": config("a")}), "a.yaml"}, ".")(Choice{}); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("what cannot be read is not said: %v", err)
	}
}

// bomb is a kustomization of which each level has two of the next, under other names: 2^levels objects of some lines.
func bomb(levels int) map[string]string {
	files := map[string]string{"l0/a.yaml": config("a"), "l0/kustomization.yaml": "resources: [a.yaml]\n"}
	for i := range levels {
		for _, half := range []string{"p", "q"} {
			files[fmt.Sprintf("%s%d/kustomization.yaml", half, i+1)] = fmt.Sprintf("namePrefix: %s\nresources: [../l%d]\n", half, i)
		}
		files[fmt.Sprintf("l%d/kustomization.yaml", i+1)] = fmt.Sprintf("resources: [../p%[1]d, ../q%[1]d]\n", i+1)
	}
	return files
}

// aliases is YAML that is small and becomes 9^levels values.
func aliases(levels int) string {
	var text strings.Builder
	text.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nl0: &l0 [x, x, x, x, x, x, x, x, x]\n")
	for i := range levels {
		fmt.Fprintf(&text, "l%d: &l%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d, ", i), 9), ", "))
	}
	return text.String()
}

// TestMemoryIsWhatRunsOut: with time enough, what ends a rendering is its limit of memory.
func TestMemoryIsWhatRunsOut(t *testing.T) {
	limits := testLimits
	limits.Time, limits.Memory = time.Minute, 128<<20
	doubled := map[string]string{"templates/a.yaml": `{{ $x := "y" }}{{ range until 40 }}{{ $x = cat $x $x }}{{ end }}{{ $x | len }}`}
	_, err := newCache(t, workers(t, limits)).Chart(chartFiles(doubled), ".", options())(Choice{})
	if err == nil || !strings.Contains(err.Error(), "MiB of memory") {
		t.Errorf("it ended with %v", err)
	}
}

// TestWhatWouldTakeTooMuch tries to take all time and all memory of the hub. It ends with an error, and those who come after
// it, or are at work beside it, notice nothing.
func TestWhatWouldTakeTooMuch(t *testing.T) {
	limits := testLimits
	limits.Time, limits.Memory = 2*time.Second, 128<<20
	patient := limits // a busy machine takes its time to start a process
	patient.Time = time.Minute
	w := workers(t, patient)
	good := func() {
		t.Helper()
		objects, err := w.read(tree(map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": config("a")}), ".", additions{})
		if err != nil || len(objects) != 1 {
			t.Errorf("a good source beside it: %d objects, %v", len(objects), err)
		}
	}
	deep := strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000)
	many := map[string]string{"kustomization.yaml": "resources: [a.yaml]\nnamePrefix: x\n", "a.yaml": ""}
	var text strings.Builder
	for i := range 30_000 {
		text.WriteString(config(fmt.Sprint("a", i)) + "data: {x: '" + strings.Repeat("y", 1000) + "'}\n---\n")
	}
	many["a.yaml"] = text.String()
	for _, tc := range []struct {
		reason string
		files  map[string]string
		folder string
		want   []string // one of them
	}{
		{reason: "aliases of aliases", files: map[string]string{"a.yaml": aliases(12)}, folder: ".", want: []string{"excessive aliasing", "MiB of memory", "longer than"}},
		{reason: "aliases of aliases in a kustomization", files: map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": aliases(12)}, folder: ".", want: []string{"excessive aliasing", "MiB of memory", "longer than"}},
		{reason: "a kustomization of kustomizations", files: bomb(24), folder: "l24", want: []string{"MiB of memory", "longer than"}},
		{reason: "a kustomization that names itself", files: map[string]string{"kustomization.yaml": "resources: [.]\n"}, folder: ".", want: []string{"cycle"}},
		{reason: "two kustomizations that name each other", files: map[string]string{"a/kustomization.yaml": "resources: [../b]\n", "b/kustomization.yaml": "resources: [../a]\n"}, folder: "a", want: []string{"cycle"}},
		{reason: "nesting without end", files: map[string]string{"a.yaml": config("a") + "data: " + deep + "\n"}, folder: ".", want: []string{"depth"}},
		{reason: "an output that is too large", files: map[string]string{"a.yaml": text.String()}, folder: ".", want: []string{"more than 16 MiB of objects", "MiB of memory", "longer than"}},
		{reason: "an output that is too large, by kustomize", files: many, folder: ".", want: []string{"more than 16 MiB of objects", "MiB of memory", "longer than"}},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			within := patient
			if slices.Contains(tc.want, "longer than") {
				within = limits
			}
			done := make(chan error, 1)
			go func() {
				_, err := w.render(tree(tc.files), job{Folder: tc.folder, Limits: within})
				done <- err
			}()
			good()
			err := <-done
			said := false
			for _, want := range tc.want {
				said = said || err != nil && strings.Contains(err.Error(), want)
			}
			if !said {
				t.Errorf("got %v, want one of %q", err, tc.want)
			}
			good()
		})
	}
}

// TestAWorkerThatDies is replaced, and whoever it worked for is told.
func TestAWorkerThatDies(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	broken := NewWorkers(ctx, func() *exec.Cmd { return exec.Command("sh", "-c", "echo no luck >&2; exit 3") }, testLimits, 1)
	if _, err := broken.read(tree(nil), ".", additions{}); err == nil || !strings.Contains(err.Error(), `rendering folder ".": the process that renders ended`) || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("got %v", err)
	}
	missing := NewWorkers(ctx, func() *exec.Cmd { return exec.Command("/nowhere/umbel") }, testLimits, 1)
	if _, err := missing.read(tree(nil), ".", additions{}); err == nil || !strings.Contains(err.Error(), "/nowhere/umbel") {
		t.Errorf("got %v", err)
	}
	w := workers(t, testLimits)
	read := func() error {
		_, err := w.read(tree(map[string]string{"a.yaml": config("a")}), ".", additions{})
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	first := w.spare[0].command.Process
	if err := read(); err != nil || len(w.spare) != 1 || w.spare[0].command.Process.Pid != first.Pid {
		t.Errorf("a process is not used again: %v", err)
	}
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := read(); err != nil || len(w.spare) != 1 || w.spare[0].command.Process.Pid == first.Pid {
		t.Errorf("a process that died while nothing was to do is not replaced: %v", err)
	}
	cancel()
}
