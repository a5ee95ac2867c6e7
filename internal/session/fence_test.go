package session

import (
	"errors"
	"testing"

	"umbel.dev/umbel/api/wire"
)

// remembered is a Fence in memory.
type remembered struct {
	epoch  uint64
	sealed bool
}

func (r *remembered) Latest() uint64 { return r.epoch }

func (r *remembered) Advance(epoch uint64) { r.epoch = epoch }

func (r *remembered) Sealed() bool { return r.sealed }

func (r *remembered) Seals() { r.sealed = true }

// TestAnAgentPasses hubs that are no older copies. It decides so itself: an older copy may be of a version that does not.
func TestAnAgentPasses(t *testing.T) {
	said := func(epoch uint64) *uint64 { return &epoch }
	for _, c := range []struct {
		reason string
		known  uint64
		said   *uint64
		want   error
		after  uint64
	}{
		{"a hub that was never restored", 0, said(0), nil, 0},
		{"the same hub again", 5, said(5), nil, 5},
		{"a restored one", 5, said(9), nil, 9},
		{"the copy that is older than it", 9, said(5), ErrSuperseded, 9},
		{"one of a version that knows no epochs", 9, nil, nil, 9},
	} {
		fence := &remembered{epoch: c.known}
		a := &agentEnd{AgentConfig: AgentConfig{Fence: fence}}
		if err := a.pass(&wire.Welcome{Epoch: c.said}); !errors.Is(err, c.want) || fence.epoch != c.after {
			t.Errorf("%s: %v, and then it is %d", c.reason, err, fence.epoch)
		}
	}
}
