package agent

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestAnAgentIsNotWithAnOlderCopyOfItsHub: once it was with the restored one it stays so, over restarts; the older one is told
// and shows why, and nothing of it reaches the member.
func TestAnAgentIsNotWithAnOlderCopyOfItsHub(t *testing.T) {
	f := newFleet(t)
	f.join()
	f.start()
	f.ready()
	f.kill()
	var boot = f.boot
	if err := openFence(f.dir, boot, slog.New(slog.DiscardHandler)).Advance(7); err != nil { // as a restored hub would have it
		t.Fatal(err)
	}
	f.start()
	f.eventually("the older copy says that it is one", func() error {
		var member v1alpha1.MemberCluster
		f.must(f.client.Get(t.Context(), client.ObjectKey{Name: string(f.name)}, &member))
		c := meta.FindStatusCondition(member.Status.Conditions, v1alpha1.ConditionConnected)
		if c == nil || c.Reason != v1alpha1.ReasonHubSuperseded {
			return fmt.Errorf("Connected is %+v", c)
		}
		return nil
	})
	if err := f.object(); err != nil {
		t.Errorf("what the member held is gone: %v", err)
	}
}

// TestTheFence is of one membership, never falls, and survives the agent.
func TestTheFence(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	boot := v1alpha1.Bootstrap{Cluster: "a", Address: "192.0.2.1:7443", Token: "t"}
	f := openFence(dir, boot, log)
	for _, epoch := range []uint64{5, 3, 0} {
		if err := f.Advance(epoch); err != nil || f.Latest() != 5 {
			t.Errorf("after %d it is %d, %v", epoch, f.Latest(), err)
		}
	}
	if again := openFence(dir, boot, log).Latest(); again != 5 {
		t.Errorf("started again it is %d", again)
	}
	boot.Token = "another"
	if joined := openFence(dir, boot, log).Latest(); joined != 0 {
		t.Errorf("joined anew it is %d", joined)
	}
	if err := os.WriteFile(filepath.Join(dir, fenceName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if damaged := openFence(dir, boot, log).Latest(); damaged != 0 {
		t.Errorf("damaged it is %d", damaged)
	}
}
