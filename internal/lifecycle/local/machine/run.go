package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"

	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/kube/process"
)

// Run is the runner of the machine in dir: it keeps the machine's processes running until ctx ends, and stops them.
func Run(ctx context.Context, dir string, log *slog.Logger) error {
	spec, err := Load(dir)
	if err != nil {
		return err
	}
	processes, err := spec.Processes()
	if err != nil {
		return err
	}
	if spec.Member != nil {
		var endpoint sync.WaitGroup
		endpoint.Go(func() {
			if err := (&endpointKeeper{spec: spec, log: log}).run(ctx); err != nil {
				log.Error("the API's address cannot be kept", "error", err)
			}
		})
		defer endpoint.Wait()
	}
	logs := filepath.Join(dir, logsDir)
	supervisor, err := process.New(process.Config{Processes: processes, LogDir: logs, Log: log})
	if err != nil {
		return err
	}
	if spec.alone() {
		var renewing sync.WaitGroup
		renewing.Go(func() { controlplane.KeepRenewed(ctx, spec.renewCluster, log) })
		defer renewing.Wait()
	}
	if spec.Main == nil {
		var agent sync.WaitGroup
		agent.Go(func() {
			if err := runAgent(ctx, dir, log); err != nil {
				log.Error("the agent cannot run", "error", err)
			}
		})
		defer agent.Wait()
	}
	return supervisor.Run(ctx)
}

// AgentCommand is the content of agent/command.json in a cluster's folder: an agent to run beside a control plane that
// has no node for it.
type AgentCommand struct {
	// Args are the path of the program and its arguments.
	Args []string          `json:"args"`
	Env  map[string]string `json:"env,omitempty"`
}

// AgentFile is where an AgentCommand is put, below a cluster's folder. It is to be written atomically.
const AgentFile = "agent/command.json"

// watchFile watches a file that may not be there yet, by its folder, which it makes.
func watchFile(path string) (*fsnotify.Watcher, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watching %s: %w", path, err)
	}
	if err := watcher.Add(filepath.Dir(path)); err != nil {
		watcher.Close()
		return nil, fmt.Errorf("watching %s: %w", path, err)
	}
	return watcher, nil
}

// runAgent runs what AgentFile says, for as long as it says so.
func runAgent(ctx context.Context, dir string, log *slog.Logger) error {
	path := filepath.Join(dir, AgentFile)
	watcher, err := watchFile(path)
	if err != nil {
		return err
	}
	defer watcher.Close()
	stop := func() {}
	defer func() { stop() }()
	current := ""
	for {
		content, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if string(content) != current {
			stop()
			current = string(content)
			if stop, err = startAgent(ctx, dir, content, log); err != nil {
				log.Error("cannot start the agent", "file", path, "error", err)
			}
		}
		if err := nextChange(ctx, watcher, path); err != nil {
			return ignoreEnd(ctx, err)
		}
	}
}

// startAgent runs the command until the function that it returns is called. An empty content runs nothing.
func startAgent(ctx context.Context, dir string, content []byte, log *slog.Logger) (stop func(), err error) {
	nothing := func() {}
	if len(content) == 0 {
		return nothing, nil
	}
	var command AgentCommand
	if err := json.Unmarshal(content, &command); err != nil {
		return nothing, err
	}
	if len(command.Args) == 0 {
		return nothing, errors.New("args: must name a program")
	}
	agent := process.Process{Name: "agent", Path: command.Args[0], Args: command.Args[1:]}
	for key, value := range command.Env {
		agent.Env = append(agent.Env, key+"="+value)
	}
	supervisor, err := process.New(process.Config{
		Processes: []process.Process{agent}, LogDir: filepath.Join(dir, logsDir), Log: log,
	})
	if err != nil {
		return nothing, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		if err := supervisor.Run(ctx); err != nil {
			log.Error("cannot run the agent", "error", err)
		}
	})
	return func() {
		cancel()
		running.Wait()
	}, nil
}

// nextChange returns when something happened to the file at path.
func nextChange(ctx context.Context, watcher *fsnotify.Watcher, path string) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-watcher.Errors:
			return err
		case event := <-watcher.Events:
			if event.Name == path {
				return nil
			}
		}
	}
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
