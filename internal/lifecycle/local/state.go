package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
	"umbel.dev/umbel/internal/lifecycle/local/network"
)

const recordFile = "cluster.json"

// NotFoundError says that the data folder has no cluster of that name.
type NotFoundError struct {
	Name string
	Home string
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("no local cluster %q in %s: see `umbel local list`", e.Name, e.Home)
}

// records returns every cluster of the data folder, by name.
func (l *Local) records() ([]record, error) {
	entries, err := os.ReadDir(l.root())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing local clusters: %w", err)
	}
	var records []record
	for _, entry := range entries {
		r, err := l.record(entry.Name())
		var missing *NotFoundError
		if errors.As(err, &missing) {
			continue // a folder that is about to become a cluster, or the images
		}
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

func (l *Local) record(name string) (record, error) {
	path := filepath.Join(l.dir(name), recordFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return record{}, &NotFoundError{Name: name, Home: l.needs.Home}
	}
	if err != nil {
		return record{}, fmt.Errorf("reading local cluster %q: %w", name, err)
	}
	var r record
	if err := json.Unmarshal(content, &r); err != nil {
		return record{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return r, nil
}

// ensureRecord returns the record of the cluster, and makes it where there is none: index, bridge and ports are then
// the cluster's for good. The cluster's lock must be held.
func (l *Local) ensureRecord(r record) (record, error) {
	existing, err := l.record(r.Name)
	var missing *NotFoundError
	if err == nil || !errors.As(err, &missing) {
		return existing, err
	}
	// One at a time in a fleet, and only for as long as this takes.
	unlock, err := lock(l.root(), unix.LOCK_EX)
	if err != nil {
		return record{}, err
	}
	defer unlock()
	records, err := l.records()
	if err != nil {
		return record{}, err
	}
	if r.Nodes > 0 || r.hosted() {
		fleet, err := network.Claim(l.needs.Home, fleetOf(records))
		if err != nil {
			return record{}, err
		}
		r.Fleet = &fleet
	}
	if r.Index, err = freeIndex(r, records); err != nil {
		return record{}, err
	}
	if r.Fleet == nil {
		if r.Ports, err = freePorts(records); err != nil {
			return record{}, err
		}
	}
	return r, l.save(r)
}

// fleetOf returns the fleet that the clusters are in already, nil if none says.
func fleetOf(records []record) *network.Fleet {
	i := slices.IndexFunc(records, func(r record) bool { return r.Fleet != nil })
	if i < 0 {
		return nil
	}
	return records[i].Fleet
}

func (l *Local) save(r record) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(l.dir(r.Name), recordFile), append(content, '\n'), 0o644)
}

// BusyError says that somebody else is at work on a cluster.
type BusyError struct{ Name string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("another umbel command is at work on local cluster %q: try again when it is done", e.Name)
}

// lockCluster locks the folder of a cluster, which must exist, against other commands.
func (l *Local) lockCluster(name string) (unlock func(), err error) {
	return l.lockAs(name, unix.LOCK_EX)
}

func (l *Local) lockAs(name string, how int) (unlock func(), err error) {
	unlock, err = lock(l.dir(name), how|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, &BusyError{Name: name}
	case errors.Is(err, fs.ErrNotExist):
		return nil, &NotFoundError{Name: name, Home: l.needs.Home}
	}
	return unlock, err
}

// lock locks the folder dir itself, so that no lock file stays when the folder goes.
func lock(dir string, how int) (unlock func(), err error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(folder.Fd()), how); err != nil {
		folder.Close()
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	locked, err := folder.Stat()
	if err != nil {
		folder.Close()
		return nil, err
	}
	if now, err := os.Stat(dir); err != nil || !os.SameFile(locked, now) {
		folder.Close() // it was removed while we waited
		return nil, fmt.Errorf("locking %s: %w", dir, fs.ErrNotExist)
	}
	return func() { folder.Close() }, nil
}

// freePorts returns ports that nobody listens on, nor will: clusters that are being made, or are stopped, have theirs too.
func freePorts(records []record) (*controlplane.Ports, error) {
	var taken []controlplane.Ports
	for _, r := range records {
		if r.Ports != nil {
			taken = append(taken, *r.Ports)
		}
	}
	ports, err := controlplane.FreePorts(taken...)
	return &ports, err
}

// portsGrace is how long the processes of a machine whose first one was killed may take to end, before their ports are somebody else's.
const portsGrace = 5 * time.Second

// movePorts gives a cluster on ports of the loopback others, if somebody else has come to listen on them while it did not run. The
// cluster's lock must be held.
func (l *Local) movePorts(ctx context.Context, r record) (record, error) {
	if r.Ports == nil {
		return r, nil
	}
	pid, err := machine.PID(l.dir(r.Name))
	if err != nil || pid != 0 {
		return r, err
	}
	grace, cancel := context.WithTimeout(ctx, portsGrace)
	defer cancel()
	ticker := time.NewTicker(apiPoll)
	defer ticker.Stop()
	for grace.Err() == nil {
		if r.Ports.AreFree() {
			return r, nil
		}
		select {
		case <-grace.Done():
		case <-ticker.C:
		}
	}
	if err := ctx.Err(); err != nil {
		return r, err
	}
	unlock, err := lock(l.root(), unix.LOCK_EX)
	if err != nil {
		return r, err
	}
	defer unlock()
	records, err := l.records()
	if err != nil {
		return r, err
	}
	if r.Ports, err = freePorts(records); err != nil {
		return r, err
	}
	return r, l.save(r)
}
