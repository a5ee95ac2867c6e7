package adopt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"umbel.dev/umbel/internal/cli"
	cliclient "umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// asUmbel has the test program be the umbel command, so that it can be killed.
const asUmbel = "UMBEL_TEST_AS_UMBEL"

func runUmbel() int {
	f := cliclient.New(output.System())
	root := cli.NewRoot(f)
	root.SetArgs(os.Args[1:])
	err := exit.Execute(context.Background(), root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	return exit.Code(err)
}

// killed runs a command as a process and kills it after a while. It says whether the command was quicker.
func (w *world) killed(t *testing.T, after time.Duration, args ...string) (ended bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), after)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"--kubeconfig", w.kubeconfig}, args...)...)
	cmd.Env = append(os.Environ(), asUmbel+"=1")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if ctx.Err() == nil && err != nil {
		t.Fatalf("%v: %v\n%s", args, err, said.String())
	}
	if ended = !errors.Is(ctx.Err(), context.DeadlineExceeded); !ended {
		t.Logf("killed after %s:\n%s", after, said.String())
	}
	return ended
}

// TestKilled kills the command at many moments of moving in and of moving out, goes on or back from there, and finds the same objects,
// held by one of the two. The agent is stopped and started in between as well.
func TestKilled(t *testing.T) {
	w := start(t)
	const ns, few = "by-kill", 60
	repo := sourcetest.New(t)
	repo.Commit(under("apps", objects(ns, few)))
	w.kubectl(t, "apply", "-f", repo.Dir+"/apps/namespace.yaml")
	w.kubectl(t, "apply", "-f", repo.Dir+"/apps")
	before, managers := w.states(t, ns), w.managers(t, ns)
	in := []string{"adopt", "kubectl", "killed", "-A", "--cluster", cluster, "--git", repo.URL(), "--path", "apps", "--yes"}
	out := []string{"adopt", "back", "killed", "--cluster", cluster, "--yes"}

	begun := time.Now()
	w.does(t, in...)
	whole := time.Since(begun)
	begun = time.Now()
	w.does(t, out...)
	back := time.Since(begun)
	const moments, begins = 6, 400 * time.Millisecond // the command as a process
	for i := range moments {
		stopped := i%2 == 1
		w.killed(t, (whole+begins)*time.Duration(i+2)/(moments+1), in...)
		if stopped { // whatever the agent was at
			w.stopAgent()
			w.startAgent()
			if err := until("the member answers by its agent", func() error {
				if got := w.umbel(t.Context(), "get", "namespaces", "--all-clusters"); got.Code != 0 {
					return errors.New(got.Err)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		w.theSame(t, ns, before)
		if i%3 == 0 { // on
			w.does(t, in...)
			if labels, notes := w.labelled(t, ns); labels != few || notes != few {
				t.Fatalf("%d: %d have the label, %d notes", i, labels, notes)
			}
			w.theSame(t, ns, before)
		}
		if there := w.umbel(t.Context(), "get", "package", "killed"); there.Code == 0 {
			w.killed(t, (back+begins)*time.Duration(moments-i)/moments, out...)
			w.theSame(t, ns, before)
		}
		if there := w.umbel(t.Context(), "get", "package", "killed"); there.Code == 0 {
			w.does(t, out...)
		}
		w.theSame(t, ns, before)
		if labels, notes := w.labelled(t, ns); labels+notes != 0 {
			t.Fatalf("%d: %d have the label, %d notes", i, labels, notes)
		}
		if now := w.managers(t, ns); fmt.Sprint(now) != fmt.Sprint(managers) {
			t.Fatalf("%d: managers were %v, are %v", i, managers, now)
		}
	}
}
