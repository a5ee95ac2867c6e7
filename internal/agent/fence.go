package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/google/renameio/v2"

	"umbel.dev/umbel/api/v1alpha1"
)

// fenceName is the file of the agent's folder in which the fence is kept.
const fenceName = "fence.json"

// fence is the session.Fence of one membership: a file. That its hub seals what it says is in it too. Another bootstrap begins another one, so `umbel join` is the way to an
// older copy of a hub, should that be wanted. An agent that lost its folder takes the first of its hubs that it meets.
type fence struct {
	path   string
	log    *slog.Logger
	latest atomic.Uint64
	sealed atomic.Bool

	mu   sync.Mutex
	kept keptFence // as it is in the file
}

type keptFence struct {
	// Bootstrap is the hash of the bootstrap that the epoch is of.
	Bootstrap string `json:"bootstrap"`
	Epoch     uint64 `json:"epoch"`
	// Sealed says that the hub sealed what it said.
	Sealed bool `json:"sealed,omitempty"`
}

// openFence reads what was kept. What cannot be read counts as nothing: a fence is not worth an agent that does not start.
func openFence(dir string, boot v1alpha1.Bootstrap, log *slog.Logger) *fence {
	sum := sha256.Sum256([]byte(string(boot.Cluster) + "\n" + boot.Address + "\n" + boot.Token))
	f := &fence{path: filepath.Join(dir, fenceName), log: log, kept: keptFence{Bootstrap: hex.EncodeToString(sum[:])}}
	var kept keptFence
	raw, err := os.ReadFile(f.path)
	if err == nil {
		err = json.Unmarshal(raw, &kept)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("which of its hubs was restored last is not known any more: the agent takes the first that it meets", "file", f.path, "error", err)
	}
	if kept.Bootstrap == f.kept.Bootstrap {
		f.kept = kept
		f.latest.Store(kept.Epoch)
		f.sealed.Store(kept.Sealed)
	}
	return f
}

// Latest implements session.Fence.
func (f *fence) Latest() uint64 { return f.latest.Load() }

// Sealed implements session.Fence.
func (f *fence) Sealed() bool { return f.sealed.Load() }

// Advance implements session.Fence.
func (f *fence) Advance(epoch uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latest.Store(max(epoch, f.latest.Load()))
	f.keep()
}

// Seals implements session.Fence.
func (f *fence) Seals() {
	if f.sealed.Swap(true) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keep()
}

// keep writes down what is new. The caller holds the lock.
func (f *fence) keep() {
	next := keptFence{Bootstrap: f.kept.Bootstrap, Epoch: f.latest.Load(), Sealed: f.sealed.Load()}
	if next == f.kept {
		return
	}
	raw, err := json.Marshal(next)
	if err == nil {
		err = renameio.WriteFile(f.path, raw, 0o600)
	}
	if err != nil {
		f.log.Warn("which hub was restored last is not written down, and would be forgotten with this process: the next session tries again", "file", f.path, "error", err)
		return
	}
	f.kept = next
}
