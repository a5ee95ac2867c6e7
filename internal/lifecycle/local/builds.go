package local

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/version"

	"umbel.dev/umbel/internal/lifecycle/local/machine"
)

// builds are the Kubernetes of this computer, looked for once.
type builds struct {
	mu sync.Mutex
	// paths of umbel-kube, by the version that it says it is.
	paths map[string]string
}

// Versions returns which Kubernetes clusters of this computer can be, from the older to the newer: that of umbel-kube, and those of
// the builds beside it that are named after another minor, such as umbel-kube-1.35.
func (l *Local) Versions(ctx context.Context) ([]string, error) {
	paths, err := l.kubes(ctx)
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Keys(paths), func(a, b string) int {
		order, _ := version.MustParseGeneric(a).Compare(b) // kubes has parsed both
		return order
	}), nil
}

// kube returns the umbel-kube of a version; that of the hub where none is asked for.
func (l *Local) kube(ctx context.Context, wanted string) (string, error) {
	if wanted == "" {
		return l.needs.Binaries.Kube, nil
	}
	paths, err := l.kubes(ctx)
	if err != nil {
		return "", err
	}
	path, ok := paths[wanted]
	if !ok {
		return "", fmt.Errorf("there is no umbel-kube of Kubernetes %s in %s", wanted, filepath.Dir(l.needs.Binaries.Kube))
	}
	return path, nil
}

func (l *Local) kubes(ctx context.Context) (map[string]string, error) {
	l.builds.mu.Lock()
	defer l.builds.mu.Unlock()
	if l.builds.paths != nil {
		return l.builds.paths, nil
	}
	main := l.needs.Binaries.Kube
	others, err := filepath.Glob(filepath.Join(filepath.Dir(main), "umbel-kube-*"))
	if err != nil {
		return nil, fmt.Errorf("looking for other builds beside %s: %w", main, err)
	}
	found := map[string]string{}
	for _, path := range append(others, main) { // the hub's own is the one of its version
		out, err := exec.CommandContext(ctx, path, "version").Output()
		if err != nil {
			return nil, fmt.Errorf("asking %s which Kubernetes it is: %w", path, err)
		}
		said := strings.TrimSpace(string(out))
		if _, err := version.ParseGeneric(said); err != nil {
			return nil, fmt.Errorf("asking %s which Kubernetes it is: %w", path, err)
		}
		found[said] = path
	}
	l.builds.paths = found
	return found, nil
}

// outdated says whether a machine runs another Kubernetes than it is to: it is to start anew then, with its data.
func (l *Local) outdated(ctx context.Context, p place, wanted string) (bool, error) {
	pid, err := machine.PID(p.dir)
	if err != nil || pid == 0 || wanted == "" {
		return false, err
	}
	spec, err := machine.Load(p.dir)
	if err != nil || spec.Version == wanted {
		return false, err
	}
	kube, err := l.kube(ctx, wanted)
	if err != nil {
		return false, err
	}
	if spec.Version == "" && spec.Kube == kube { // it was started before versions were written down
		spec.Version = wanted
		return false, spec.Save()
	}
	return true, nil
}
