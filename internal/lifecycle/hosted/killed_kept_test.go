package hosted

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/local"
)

func (c cutting) SnapshotPlane(ctx context.Context, h local.Hosted, out io.Writer) error {
	return c.life.step("take a snapshot", func() error { return c.computer.SnapshotPlane(ctx, h, out) })
}

func (c cutting) RestorePlane(ctx context.Context, h local.Hosted, request, file string) error {
	return c.life.step("restore the control plane", func() error { return c.computer.RestorePlane(ctx, h, request, file) })
}

func (c cutting) HaltPlane(ctx context.Context, h local.Hosted) error {
	return c.life.step("halt the control plane", func() error { return c.computer.HaltPlane(ctx, h) })
}

func (c cutting) HaltMachine(ctx context.Context, h local.Hosted, node string) error {
	return c.life.step("halt a machine", func() error { return c.computer.HaltMachine(ctx, h, node) })
}

// TestTheProviderIsKilledInASnapshotAndInARestore after each of their steps: the snapshot is whole, a control plane is restored to it once for
// each time that this is asked for, and nothing that was fetched for it stays.
func TestTheProviderIsKilledInASnapshotAndInARestore(t *testing.T) {
	w := newMortal(t)
	plane, _ := w.serving("kept")
	b := &infra.ClusterBackup{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "kept"}, Spec: infra.ClusterBackupSpec{ClusterName: "kept", Target: infra.BackupTarget{Folder: &infra.FolderTarget{Name: "kept"}}}}
	w.create(b)
	w.says(b, infra.ConditionReady, infra.ReasonServing, "the target has 0 snapshots")
	var taking, restoring []string
	for after, killed := 1, true; killed; after++ {
		if after > 30 {
			t.Fatal("a snapshot, or a restore, has no end")
		}
		w.life.arm(after)
		request := fmt.Sprint("request-", after)
		w.asks(b, infra.BackupAnnotation, request)
		taken, steps := w.until(after, "a snapshot is taken", func(ctx context.Context) error {
			if err := w.Get(ctx, client.ObjectKeyFromObject(b), b); err != nil {
				return err
			}
			if b.Status.Requested != request || len(b.Status.Snapshots) == 0 {
				return fmt.Errorf("the backup says %+v", b.Status)
			}
			return nil
		})
		if !taken && taking == nil {
			taking = steps
		}
		newest := b.Status.Snapshots[0]
		file := filepath.Join(w.host.BackupFolder("kept"), "default", "kept", newest.Name+".db")
		snapshot, err := os.ReadFile(file)
		if err != nil || int64(len(snapshot)) != newest.Size {
			t.Fatalf("killed after %d steps, the newest snapshot is %+v, and its file has %d bytes (%v)", after, newest, len(snapshot), err)
		}

		w.life.arm(after)
		request = fmt.Sprintf("kept/%s@%d", newest.Name, after)
		w.asks(plane, infra.RestoreAnnotation, request)
		restored, steps := w.until(after, "it is restored", func(ctx context.Context) error {
			if err := w.Get(ctx, client.ObjectKeyFromObject(plane), plane); err != nil {
				return err
			}
			if plane.Status.Restored != request || !meta.IsStatusConditionTrue(plane.Status.Conditions, infra.ConditionAvailable) {
				return fmt.Errorf("the control plane says %+v", plane.Status)
			}
			return nil
		})
		if !restored && restoring == nil {
			restoring = steps
		}
		if by, held := w.host.holds(); by != request || string(held) != string(snapshot) {
			t.Errorf("killed after %d steps, it was restored by %s to %d bytes of %d", after, by, len(held), len(snapshot))
		}
		killed = taken || restored
	}
	t.Logf("killed after each of the steps of a snapshot:\n  %s", strings.Join(taking, "\n  "))
	t.Logf("and of a restore:\n  %s", strings.Join(restoring, "\n  "))
	if said := strings.Join(taking, "\n"); !strings.Contains(said, "take a snapshot") || !strings.Contains(said, "/status") {
		t.Errorf("the steps of a snapshot were\n%s", said)
	}
	if said := strings.Join(restoring, "\n"); !strings.Contains(said, "restore the control plane") || !strings.Contains(said, "/status") {
		t.Errorf("the steps of a restore were\n%s", said)
	}
	if left, _ := filepath.Glob(filepath.Join(w.host.dir, "scratch", "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestTheProviderIsKilledInHibernation after each step of falling asleep and of waking: each part sleeps, and each part wakes.
func TestTheProviderIsKilledInHibernation(t *testing.T) {
	w := newMortal(t)
	c := w.asked("dozer")
	eventually(t, "the cluster is right", c.right)
	machine, plane := c.parts[0].(*infra.LocalMachine), c.parts[2].(*infra.HostedControlPlane)
	sleeps := func(hibernates string, paused bool) {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%s}},"spec":{"paused":%t}}`, v1alpha1.HibernatedAnnotation, hibernates, paused)
		if err := w.Patch(t.Context(), c.cluster, client.RawPatch(types.MergePatchType, patch)); err != nil {
			t.Fatal(err)
		}
	}
	// are says what is missing until the control plane and the machine are so.
	are := func(ctx context.Context, reason string) error {
		for _, o := range []client.Object{plane, machine} {
			if err := w.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
		}
		for _, said := range []*metav1.Condition{
			meta.FindStatusCondition(plane.Status.Conditions, infra.ConditionAvailable), meta.FindStatusCondition(machine.Status.Conditions, infra.ConditionReady),
		} {
			if said == nil || said.Reason != reason || (said.Status == metav1.ConditionTrue) != (reason == infra.ReasonServing) {
				return fmt.Errorf("it says %+v, not %s", said, reason)
			}
		}
		return nil
	}
	var falling, waking []string
	for after, killed := 1, true; killed; after++ {
		if after > 30 {
			t.Fatal("falling asleep, or waking, has no end")
		}
		before := w.host.sleeps()
		w.life.arm(after)
		sleeps(`"true"`, true)
		fell, steps := w.until(after, "all of it sleeps", func(ctx context.Context) error { return are(ctx, infra.ReasonHibernated) })
		if !fell && falling == nil {
			falling = steps
		}
		if now := w.host.sleeps(); now[0] <= before[0] || now[1] <= before[1] {
			t.Errorf("killed after %d steps, the control plane was halted %d times and the machine %d times, before it %d and %d", after, now[0], now[1], before[0], before[1])
		}
		w.life.arm(after)
		sleeps("null", false)
		woke, steps := w.until(after, "all of it is awake", func(ctx context.Context) error { return are(ctx, infra.ReasonServing) })
		if !woke && waking == nil {
			waking = steps
		}
		killed = fell || woke
	}
	t.Logf("killed after each of the steps of falling asleep:\n  %s", strings.Join(falling, "\n  "))
	t.Logf("and of waking:\n  %s", strings.Join(waking, "\n  "))
	for _, part := range []string{"halt the control plane", "halt a machine", "hostedcontrolplanes/", "localmachines/"} {
		if !strings.Contains(strings.Join(falling, "\n"), part) {
			t.Errorf("no step of falling asleep was %q", part)
		}
	}
	for _, part := range []string{"raise the control plane", "raise a machine"} {
		if !strings.Contains(strings.Join(waking, "\n"), part) {
			t.Errorf("no step of waking was %q", part)
		}
	}
	if n := w.host.ended(); n > 0 {
		t.Errorf("its control plane was ended for good %d times", n)
	}
}

// sleeps returns how often the control plane and machines were halted.
func (c *computer) sleeps() [2]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return [2]int{c.halts, len(c.asleep)}
}
