package hosted

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/internal/lifecycle/local/quorum"
)

// store is the part of a computer that has to do with snapshots. They are taken of the real etcd; what they are restored into is a note.
type store struct {
	T   *testing.T
	dir string

	asleep   []string // machines
	restored string   // the request that was answered last
	held     []byte   // by what the control plane was restored to
	found    local.Found
	drilled  error
	before   func() // a control plane is restored
}

func (c *computer) SnapshotPlane(ctx context.Context, _ local.Hosted, out io.Writer) error {
	config, err := c.plane.ControlPlane.EtcdTLS()
	if err != nil {
		return err
	}
	return quorum.Snapshot(ctx, c.plane.ControlPlane.EtcdURL(), config, out)
}

func (c *computer) RestorePlane(_ context.Context, _ local.Hosted, request, file string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.restored == request {
		return errors.New("it is asked for twice")
	}
	if c.before != nil {
		c.before()
	}
	held, err := os.ReadFile(file)
	c.restored, c.held = request, held
	return err
}

func (c *computer) Rehearse(_ context.Context, r local.Rehearsal) (local.Found, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := os.Stat(r.File); err != nil {
		return local.Found{}, err
	}
	return c.found, c.drilled
}

func (c *computer) Scratch(purpose string) (string, func() error, error) {
	dir := filepath.Join(c.dir, "scratch", purpose)
	return dir, func() error { return os.RemoveAll(dir) }, os.MkdirAll(dir, 0o700)
}

func (c *computer) BackupFolder(name string) string { return filepath.Join(c.dir, "backups", name) }

func (c *computer) drills(found local.Found, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found, c.drilled = found, err
}

func (c *computer) holds() (request string, held []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restored, c.held
}

// serving makes a cluster whose control plane serves, and a client of that.
func (w *world) serving(name string) (*infra.HostedControlPlane, kubernetes.Interface) {
	w.Helper()
	cluster := w.cluster(name, nil)
	place := &infra.HostedCluster{ObjectMeta: named(name)}
	w.create(owned(place, name, cluster))
	plane := &infra.HostedControlPlane{ObjectMeta: named(name), Spec: infra.HostedControlPlaneSpec{Version: w.version}}
	w.create(owned(plane, name, cluster))
	w.says(plane, infra.ConditionAvailable, infra.ReasonServing, "")
	config, err := w.host.plane.Client()
	if err != nil {
		w.Fatal(err)
	}
	inside, err := kubernetes.NewForConfig(config)
	if err != nil {
		w.Fatal(err)
	}
	return plane, inside
}

func (w *world) backup(name string, target infra.BackupTarget) *infra.ClusterBackup {
	w.Helper()
	b := &infra.ClusterBackup{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name}, Spec: infra.ClusterBackupSpec{ClusterName: "vault", Target: target}}
	w.create(b)
	return b
}

// asks annotates an object.
func (w *world) asks(o client.Object, annotation, value string) {
	w.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, annotation, value)
	if err := w.Patch(w.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		w.Fatal(err)
	}
}

// took waits until a request for a snapshot was answered, and returns the file of the newest one.
func (w *world) took(b *infra.ClusterBackup, request string) string {
	w.Helper()
	w.asks(b, infra.BackupAnnotation, request)
	eventually(w.T, "a snapshot is taken", func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(b), b); err != nil {
			return err
		}
		if b.Status.Requested != request {
			return fmt.Errorf("it says %+v", b.Status)
		}
		return nil
	})
	return filepath.Join(w.host.BackupFolder("dev"), "default", "vault", b.Status.Snapshots[0].Name+".db")
}

// TestBackups: snapshots are taken, kept and let go; a target that is away, or is not what it was, is said; what cannot be restored
// harms nothing, and what is restored brings no ghosts.
func TestBackups(t *testing.T) {
	w := newWorld(t)
	plane, inside := w.serving("vault")
	b := w.backup("dev", infra.BackupTarget{Folder: &infra.FolderTarget{Name: "dev"}})
	w.says(b, infra.ConditionReady, infra.ReasonServing, "the target has 0 snapshots")
	first := w.took(b, "one")
	s := b.Status.Snapshots[0]
	info, err := os.Stat(first)
	if err != nil || info.Size() != s.Size || info.Mode().Perm() != 0o600 || s.Version != w.version || s.Cluster != "default/vault" || s.Services != "10.129.0.0/16" {
		t.Fatalf("the snapshot is %+v, and the file %v (%v)", s, info, err)
	}
	w.targets(b)
	w.restores(b, plane, inside, first)
	w.fromAfar(plane)
	w.drills(b)
	w.retains(b)
	w.follows(b)
	if left, _ := filepath.Glob(filepath.Join(w.host.dir, "scratch", "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// targets: one that is away is an error that is tried again; what is missing is said; and a password is in no status.
func (w *world) targets(b *infra.ClusterBackup) {
	w.Helper()
	folder := w.host.BackupFolder("dev")
	if err := os.Symlink(folder+".gone", folder+".away"); err != nil { // a volume that is not mounted
		w.Fatal(err)
	}
	swap := func() error { // at once: who looks in between would find no folder, and make one
		return unix.Renameat2(unix.AT_FDCWD, folder, unix.AT_FDCWD, folder+".away", unix.RENAME_EXCHANGE)
	}
	if err := swap(); err != nil {
		w.Fatal(err)
	}
	w.asks(b, infra.BackupAnnotation, "away")
	w.says(b, infra.ConditionReady, infra.ReasonFailing, "no such file")
	if len(b.Status.Snapshots) != 1 || b.Status.Requested != "one" {
		w.Errorf("with the target away: %+v", b.Status)
	}
	if err := swap(); err != nil {
		w.Fatal(err)
	}
	w.took(b, "back")

	const canary = "c4n4ry-s3cr3t"
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Error(rw, "no: "+r.Header.Get("Authorization"), http.StatusForbidden) // a server that says what it was told
	}))
	defer server.Close()
	far := w.backup("far", infra.BackupTarget{S3: &infra.S3Target{Endpoint: server.URL, Bucket: "backups", Region: "eu"}, SecretName: "bucket"})
	w.says(far, infra.ConditionReady, infra.ReasonRefused, "spec.target.secretName: there is no Secret bucket")
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "bucket"}, StringData: map[string]string{"username": "ada", "password": canary}})
	w.poke(far)
	w.says(far, infra.ConditionReady, infra.ReasonFailing, "in bucket backups")
	if strings.Contains(fmt.Sprint(far.Status), canary) {
		w.Errorf("the password is in the status: %+v", far.Status)
	}
	bad := &infra.ClusterBackup{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "bad"}, Spec: infra.ClusterBackupSpec{ClusterName: "vault", Schedule: "sometimes", Target: infra.BackupTarget{Folder: &infra.FolderTarget{Name: "dev"}}}}
	w.create(bad)
	w.says(bad, infra.ConditionReady, infra.ReasonRefused, "spec.schedule")
	for what, target := range map[string]infra.BackupTarget{
		"none": {}, "two": {Folder: &infra.FolderTarget{Name: "a"}, OCI: &infra.OCITarget{URL: "https://a.example"}}, "a way out": {Folder: &infra.FolderTarget{Name: "../etc"}},
		"a password in the URL": {OCI: &infra.OCITarget{URL: "https://me:secret@a.example"}},
	} {
		o := &infra.ClusterBackup{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "refused"}, Spec: infra.ClusterBackupSpec{ClusterName: "vault", Target: target}}
		if err := w.Create(w.Context(), o); !apierrors.IsInvalid(err) {
			w.Errorf("with %s as target: %v", what, err)
		}
	}
}

func (w *world) restores(b *infra.ClusterBackup, plane *infra.HostedControlPlane, inside kubernetes.Interface, file string) {
	w.Helper()
	name := strings.TrimSuffix(filepath.Base(file), ".db")
	good, err := os.ReadFile(file)
	if err != nil {
		w.Fatal(err)
	}
	for request, c := range map[string]struct {
		spoilt       []byte
		reason, want string
	}{
		"dev/" + name + "@1":    {good[:len(good)-1], infra.ReasonFailing, "is not what was put there"},
		"dev/20200101-000000@2": {good, infra.ReasonRefused, "has no snapshot 20200101-000000"},
		"none/" + name + "@3":   {good, infra.ReasonRefused, "there is no ClusterBackup none"},
		"dev/" + name:           {good, infra.ReasonRefused, "BACKUP/SNAPSHOT@REQUEST"},
	} {
		if err := os.WriteFile(file, c.spoilt, 0o600); err != nil {
			w.Fatal(err)
		}
		w.asks(plane, infra.RestoreAnnotation, request)
		w.says(plane, infra.ConditionRestored, c.reason, c.want)
		if !meta.IsStatusConditionTrue(plane.Status.Conditions, infra.ConditionAvailable) || plane.Status.Restored != "" {
			w.Errorf("what cannot be restored has the control plane say %+v", plane.Status)
		}
		if done, _ := w.host.holds(); done != "" {
			w.Errorf("%s was restored", done)
		}
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		w.Fatal(err)
	}
	ghost := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "ghost"}}
	token := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "old", Annotations: map[string]string{corev1.ServiceAccountNameKey: "default"}},
		Type:       corev1.SecretTypeServiceAccountToken, Data: map[string][]byte{corev1.ServiceAccountTokenKey: []byte("of another key")},
	}
	if _, err := inside.CoreV1().Nodes().Create(w.Context(), ghost, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
	eventually(w.T, "a token is there", func(ctx context.Context) error { // when the namespace has its service account
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
		_, err := inside.CoreV1().ServiceAccounts("default").Create(ctx, sa, metav1.CreateOptions{})
		if err == nil || apierrors.IsAlreadyExists(err) {
			_, err = inside.CoreV1().Secrets("default").Create(ctx, token, metav1.CreateOptions{})
		}
		return err
	})
	haunting := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "haunting"}, Spec: corev1.PodSpec{NodeName: "ghost", Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	if _, err := inside.CoreV1().Pods("default").Create(w.Context(), haunting, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
	mine, others, paused := w.healthCheck("vault", ""), w.healthCheck("other", ""), w.healthCheck("vault", "by somebody")
	w.host.is(func(c *computer) {
		c.before = func() { w.rests(mine, resting); w.rests(others, ""); w.rests(paused, "by somebody") }
	})
	request := "dev/" + name + "@5"
	w.asks(plane, infra.RestoreAnnotation, request)
	w.says(plane, infra.ConditionRestored, infra.ReasonServing, "snapshot "+name)
	if done, held := w.host.holds(); done != request || !bytes.Equal(held, good) || plane.Status.Restored != request {
		w.Errorf("asked for %s, it was restored to %s, with %d bytes of %d; it says %s", request, done, len(held), len(good), plane.Status.Restored)
	}
	if _, err := inside.CoreV1().Nodes().Get(w.Context(), "ghost", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		w.Errorf("a Node haunts it whose machine is none of its (%v)", err)
	}
	if _, err := inside.CoreV1().Pods("default").Get(w.Context(), "haunting", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		w.Errorf("a pod of that Node is waited for (%v)", err)
	}
	if s, err := inside.CoreV1().Secrets("default").Get(w.Context(), "old", metav1.GetOptions{}); err != nil || string(s.Data[corev1.ServiceAccountTokenKey]) == "of another key" {
		w.Errorf("a token of another key is there still (%v)", err)
	}
	w.poke(plane) // once is enough: a second time is an error of the computer
	w.says(plane, infra.ConditionAvailable, infra.ReasonServing, "")
	w.rests(mine, resting)
	w.ahead.Add(int64(settling + time.Second))
	w.poke(plane)
	eventually(w.T, "the machines' health is looked at again", func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(mine), mine); err != nil || mine.GetAnnotations()[pausedAnnotation] != "" {
			return fmt.Errorf("its annotations are %v (%v)", mine.GetAnnotations(), err)
		}
		return nil
	})
	w.rests(paused, "by somebody")
	_ = b
}

// healthCheck makes one of the machines of a cluster, which is paused when a word says so.
func (w *world) healthCheck(cluster, word string) *unstructured.Unstructured {
	w.Helper()
	o := newObject(checkKind)
	o.SetNamespace(metav1.NamespaceDefault)
	o.SetGenerateName(cluster + "-")
	if word != "" {
		o.SetAnnotations(map[string]string{pausedAnnotation: word})
	}
	o.Object["spec"] = map[string]any{"clusterName": cluster, "selector": map[string]any{"matchLabels": map[string]any{clusterLabel: cluster}}}
	w.create(o)
	return o
}

// rests wants a health check to be paused by that word; by none when it is empty.
func (w *world) rests(check *unstructured.Unstructured, word string) {
	w.Helper()
	if err := w.Get(w.Context(), client.ObjectKeyFromObject(check), check); err != nil || check.GetAnnotations()[pausedAnnotation] != word {
		w.Errorf("health check %s is paused by %q, want %q (%v)", check.GetName(), check.GetAnnotations()[pausedAnnotation], word, err)
	}
}

func (w *world) drills(b *infra.ClusterBackup) {
	w.Helper()
	w.host.drills(local.Found{}, errors.New("etcd does not start"))
	w.asks(b, infra.DrillAnnotation, "bad")
	w.says(b, infra.ConditionDrilled, infra.ReasonFailing, "cannot be restored: etcd does not start")
	if b.Status.Drill.Requested != "bad" || !meta.IsStatusConditionTrue(b.Status.Conditions, infra.ConditionReady) {
		w.Errorf("after a drill that failed: %+v", b.Status)
	}
	w.host.drills(local.Found{Took: 3 * time.Second, Objects: 312, Namespaces: 5}, nil)
	w.asks(b, infra.DrillAnnotation, "good")
	w.says(b, infra.ConditionDrilled, infra.ReasonServing, "312 objects in 5 namespaces")
	if d := b.Status.Drill; d.Requested != "good" || d.Snapshot != b.Status.Snapshots[0].Name || d.Took.Duration != 3*time.Second {
		w.Errorf("the drill is %+v", d)
	}
}

// retains: with two to be kept, the third has the first go.
func (w *world) retains(b *infra.ClusterBackup) {
	w.Helper()
	if err := w.Patch(w.Context(), b, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"retain":2}}`))); err != nil {
		w.Fatal(err)
	}
	time.Sleep(time.Second) // a name is of its second
	w.took(b, "third")
	kept, err := filepath.Glob(filepath.Join(w.host.BackupFolder("dev"), "default", "vault", "*.db"))
	if err != nil || len(kept) != 2 || len(b.Status.Snapshots) != 2 {
		w.Errorf("kept: %v, %+v (%v)", kept, b.Status.Snapshots, err)
	}
}

// follows: with a schedule, one is taken when the clock comes to it, without that anybody asks, and none before and no second one.
func (w *world) follows(b *infra.ClusterBackup) {
	w.Helper()
	newest := b.Status.Snapshots[0].Name
	if err := w.Patch(w.Context(), b, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"schedule":"@daily"}}`))); err != nil {
		w.Fatal(err)
	}
	looked := func(what string, check func() bool) {
		w.Helper()
		eventually(w.T, what, func(ctx context.Context) error {
			if err := w.Get(ctx, client.ObjectKeyFromObject(b), b); err != nil {
				return err
			}
			if !check() {
				return fmt.Errorf("it says %+v", b.Status)
			}
			return nil
		})
	}
	looked("it says when the next one is due", func() bool { return b.Status.Next != nil })
	due := b.Status.Next.Time
	if b.Status.Snapshots[0].Name != newest {
		w.Errorf("before %s it was taken: %+v", due, b.Status.Snapshots)
	}
	now := time.Now().Add(time.Duration(w.ahead.Load()))
	w.ahead.Add(int64(due.Sub(now) + time.Second))
	w.poke(b)
	looked("a snapshot is taken by the schedule", func() bool { return b.Status.Snapshots[0].Name != newest && b.Status.Next.After(due) })
	taken := b.Status.Snapshots[0]
	if taken.Time.Time.Before(due) || b.Status.Requested != "third" {
		w.Errorf("due at %s, and asked for last as third: %+v", due, b.Status)
	}
	if info, err := os.Stat(filepath.Join(w.host.BackupFolder("dev"), "default", "vault", taken.Name+".db")); err != nil || info.Size() != taken.Size {
		w.Errorf("its file is %v (%v), want %d bytes", info, err, taken.Size)
	}
	w.ahead.Add(int64(time.Second)) // a name is of its second
	w.took(b, "fourth")             // whoever asks is answered, and the schedule does not take a second one
	if len(b.Status.Snapshots) != 2 || b.Status.Snapshots[1].Name != taken.Name {
		w.Errorf("the schedule took more than one: %+v", b.Status.Snapshots)
	}
}

// TestHibernation: what hibernates ends with its data, also when Cluster API is paused for it, and is started again when it wakes.
func TestHibernation(t *testing.T) {
	w := newWorld(t)
	plane, _ := w.serving("sleeper")
	cluster := newObject(clusterKind)
	cluster.SetNamespace(metav1.NamespaceDefault)
	cluster.SetName("sleeper")
	if err := w.Patch(t.Context(), cluster, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"true"}},"spec":{"paused":true}}`, v1alpha1.HibernatedAnnotation))); err != nil {
		t.Fatal(err)
	}
	w.says(plane, infra.ConditionAvailable, infra.ReasonHibernated, "umbel cluster wake sleeper")
	if !*plane.Status.Initialization.ControlPlaneInitialized || *plane.Status.ReadyReplicas != 0 || w.host.ended() != 0 {
		t.Errorf("asleep, it is %+v; ended for good %d times", plane.Status, w.host.ended())
	}
	w.host.mu.Lock()
	halts, raises := w.host.halts, w.host.raises
	w.host.mu.Unlock()
	if halts == 0 {
		t.Error("nobody has ended its processes")
	}
	if err := w.Patch(t.Context(), cluster, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:null}},"spec":{"paused":false}}`, v1alpha1.HibernatedAnnotation))); err != nil {
		t.Fatal(err)
	}
	w.says(plane, infra.ConditionAvailable, infra.ReasonServing, "")
	w.host.mu.Lock()
	defer w.host.mu.Unlock()
	if w.host.raises == raises {
		t.Error("nobody has started it")
	}
}

// TestPlanBackup: what is due, by the clock and by what somebody asks for.
func TestPlanBackup(t *testing.T) {
	created := time.Date(2026, 11, 27, 10, 30, 0, 0, time.UTC)
	taken := func(at time.Time) []infra.ClusterSnapshot {
		return []infra.ClusterSnapshot{{Time: metav1.Time{Time: at}}}
	}
	for _, c := range []struct {
		reason   string
		change   func(*infra.ClusterBackup)
		now      time.Duration // after it was created
		snapshot bool
		drill    bool
		wait     time.Duration
	}{
		{"nothing is asked for", func(*infra.ClusterBackup) {}, time.Hour, false, false, relist},
		{"before its first hour", func(b *infra.ClusterBackup) { b.Spec.Schedule = "@hourly" }, 25 * time.Minute, false, false, 5 * time.Minute},
		{"its first hour", func(b *infra.ClusterBackup) { b.Spec.Schedule = "@hourly" }, 30 * time.Minute, true, false, soon},
		{"the hub was away for three days: once", func(b *infra.ClusterBackup) {
			b.Spec.Schedule = "@hourly"
			b.Status.Snapshots = taken(created.Add(72 * time.Hour))
		}, 72 * time.Hour, false, false, relist},
		{"one was taken by somebody just before", func(b *infra.ClusterBackup) {
			b.Spec.Schedule = "@hourly"
			b.Status.Snapshots = taken(created.Add(29 * time.Minute))
		}, 31 * time.Minute, true, false, soon},
		{"asked for", func(b *infra.ClusterBackup) { b.Annotations = map[string]string{infra.BackupAnnotation: "now"} }, 0, true, false, relist},
		{"answered", func(b *infra.ClusterBackup) {
			b.Annotations, b.Status.Requested = map[string]string{infra.BackupAnnotation: "now"}, "now"
		}, 0, false, false, relist},
		{"a drill is asked for", func(b *infra.ClusterBackup) { b.Annotations = map[string]string{infra.DrillAnnotation: "now"} }, 0, false, true, relist},
		{"a drill is due", func(b *infra.ClusterBackup) { b.Spec.DrillSchedule = "0 11 * * *" }, 30 * time.Minute, false, true, soon},
		{"and was held", func(b *infra.ClusterBackup) {
			b.Spec.DrillSchedule = "0 11 * * *"
			b.Status.Drill = &infra.BackupDrill{Time: metav1.Time{Time: created.Add(30 * time.Minute)}}
		}, 40 * time.Minute, false, false, relist},
	} {
		b := &infra.ClusterBackup{ObjectMeta: metav1.ObjectMeta{UID: "u", CreationTimestamp: metav1.Time{Time: created}}}
		c.change(b)
		now := created.Add(c.now)
		p, err := planBackup(b, now)
		if err != nil || p.snapshot != c.snapshot || p.drill != c.drill || p.wait(now) != c.wait {
			t.Errorf("%s: %+v, and then in %s (%v)", c.reason, p, p.wait(now), err)
		}
	}
}
