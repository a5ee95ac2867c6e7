// Package rig runs a fleet for end-to-end tests and benchmarks, as a person would: by the umbel command, in a data folder of
// its own. What a person would look at with kubectl it reads with client-go, straight from the clusters.
package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	clientgoscheme "k8s.io/client-go/kubernetes/scheme"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/programtest"
)

// Fleet is a fleet in a data folder.
type Fleet struct {
	// Home is the data folder.
	Home string
	// Log gets what commands print to the error stream, but for those that [Eventually] runs. Optional.
	Log io.Writer
	// Programs is the folder of our programs. The default is build/bin.
	Programs string
	// User runs the commands, when it is not 0.
	User uint32
}

// Root is the root of the source tree. It panics outside of it, where no story is told.
func Root() string {
	root, err := programtest.Root()
	if err != nil {
		panic(err)
	}
	return root
}

// Binary is the path of one of our binaries; `make build` builds them.
func Binary(name string) string { return filepath.Join(Root(), "build", "bin", name) }

// CommandError is a command that ended with another code than 0.
type CommandError struct {
	Command string
	Code    int
	Stdout  string
	Stderr  string
}

func (e *CommandError) Error() string {
	return fmt.Sprintf("%s: exit code %d\n%s%s", e.Command, e.Code, e.Stdout, e.Stderr)
}

func (f *Fleet) programs() string {
	if f.Programs != "" {
		return f.Programs
	}
	return filepath.Dir(Binary("umbel"))
}

// Umbel runs the umbel command and returns what it printed. The error is a *CommandError when it ended with a code
// other than 0.
func (f *Fleet) Umbel(ctx context.Context, args ...string) (string, error) {
	return f.run(ctx, exec.CommandContext(ctx, filepath.Join(f.programs(), "umbel"), args...))
}

// Shell runs a line in a shell in which umbel is on the path and knows the data folder.
func (f *Fleet) Shell(ctx context.Context, line string) (string, error) {
	return f.run(ctx, exec.CommandContext(ctx, "bash", "-e", "-o", "pipefail", "-c", line))
}

func (f *Fleet) run(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if f.Log != nil && ctx.Value(tried{}) == nil {
		cmd.Stderr = io.MultiWriter(&stderr, f.Log)
	}
	cmd.Env = append(os.Environ(), "UMBEL_HOME="+f.Home, "PATH="+f.programs()+":"+os.Getenv("PATH"))
	if f.User != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: f.User, Gid: f.User}}
		cmd.Dir = "/"
		cmd.Env = append(cmd.Env, "HOME="+f.programs()) // one that is not theirs: nothing is cached
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = &CommandError{strings.Join(cmd.Args, " "), exit.ExitCode(), stdout.String(), stderr.String()}
	}
	return stdout.String(), err
}

// Repository is the example repository that `umbel up` makes.
func (f *Fleet) Repository() string { return filepath.Join(f.Home, "fleet") }

// Commit writes files (path to content; an empty content deletes) into the repository and commits them.
func (f *Fleet) Commit(ctx context.Context, message string, files map[string]string) error {
	for name, content := range files {
		path := filepath.Join(f.Repository(), name)
		if content == "" {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return f.Git(ctx, "add -A", "commit -q -m '"+message+"'")
}

// Git runs git commands in the repository.
func (f *Fleet) Git(ctx context.Context, commands ...string) error {
	for _, c := range commands {
		if _, err := f.Shell(ctx, "cd '"+f.Repository()+"' && git "+c); err != nil {
			return err
		}
	}
	return nil
}

// Member returns a client configuration for a local cluster, as its administrator.
func (f *Fleet) Member(name string) (*rest.Config, error) {
	return config(filepath.Join(f.Home, "local", name, "kubeconfig"))
}

// Clients returns a typed client of a local cluster.
func (f *Fleet) Clients(name string) (*kubernetes.Clientset, error) {
	c, err := f.Member(name)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(c)
}

// Hub returns a client of the hub's API.
func (f *Fleet) Hub() (kube.WithWatch, error) {
	c, err := config(filepath.Join(f.Home, "hub", "admin.kubeconfig"))
	if err != nil {
		return nil, err
	}
	if err := v1alpha1.AddToScheme(clientgoscheme.Scheme); err != nil {
		return nil, err
	}
	return kube.NewWithWatch(c, kube.Options{Scheme: clientgoscheme.Scheme})
}

func config(kubeconfig string) (*rest.Config, error) {
	c, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	c.QPS = -1
	return c, nil
}

// tried is the key of a context in which a command is run again and again: only its last error is told.
type tried struct{}

// Eventually waits until check returns nil; after the timeout it returns check's last error.
func Eventually(ctx context.Context, timeout time.Duration, check func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, tried{}, true), timeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for last := errors.New("nothing was heard"); ; {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err // what came of the end of the time says nothing
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", timeout, last)
		case <-tick.C:
		}
	}
}

// Processes returns the ids of processes of this fleet whose command line holds all of the words.
func (f *Fleet) Processes(words ...string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, entry := range entries {
		var pid int
		if _, err := fmt.Sscanf(entry.Name(), "%d", &pid); err != nil {
			continue
		}
		raw, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err != nil || len(raw) == 0 {
			continue // it has ended
		}
		line := strings.ReplaceAll(string(raw), "\x00", " ")
		matches := true
		for _, word := range words {
			matches = matches && strings.Contains(line, word)
		}
		if matches {
			found = append(found, pid)
		}
	}
	return found, nil
}
