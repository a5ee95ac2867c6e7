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
	openFence(f.dir, boot, slog.New(slog.DiscardHandler)).Advance(7) // as a restored hub would have it
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
		f.Advance(epoch)
		if f.Latest() != 5 {
			t.Errorf("after %d it is %d", epoch, f.Latest())
		}
	}
	if f.Sealed() {
		t.Error("it says that the hub sealed something")
	}
	f.Seals()
	if again := openFence(dir, boot, log); again.Latest() != 5 || !again.Sealed() {
		t.Errorf("started again it is %d, and the hub sealed: %t", again.Latest(), again.Sealed())
	}
	boot.Token = "another"
	if joined := openFence(dir, boot, log); joined.Latest() != 0 || joined.Sealed() {
		t.Errorf("joined anew it is %d, and the hub sealed: %t", joined.Latest(), joined.Sealed())
	}
	if err := os.WriteFile(filepath.Join(dir, fenceName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if damaged := openFence(dir, boot, log).Latest(); damaged != 0 {
		t.Errorf("damaged it is %d", damaged)
	}
}

// TestAFenceThatCannotBeKept holds all the same, and is kept when it can be.
func TestAFenceThatCannotBeKept(t *testing.T) {
	dir, log := filepath.Join(t.TempDir(), "agent"), slog.New(slog.DiscardHandler) // there is no such folder, as if the disk were full
	boot := v1alpha1.Bootstrap{Cluster: "a", Address: "192.0.2.1:7443", Token: "t"}
	f := openFence(dir, boot, log)
	f.Advance(5)
	if got := f.Latest(); got != 5 {
		t.Errorf("it is %d", got)
	}
	if got := openFence(dir, boot, log).Latest(); got != 0 {
		t.Fatalf("it was kept: %d", got)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f.Advance(5) // at the next session's begin
	if got := openFence(dir, boot, log).Latest(); got != 5 {
		t.Errorf("started again it is %d", got)
	}
}
