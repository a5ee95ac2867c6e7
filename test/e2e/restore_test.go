//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/metrics/rules"
	"umbel.dev/umbel/test/rig"
)

// moved is a hub that is lost and restored elsewhere, with one member whose agent knows nothing of it.
type moved struct {
	*story
	repository *sourcetest.Repository
	member     *kubernetes.Clientset
	hub        *exec.Cmd
}

// TestAHubMovesToANewMachine is the runbook docs/operate/backup-and-restore.md: a backup is made while the hub runs, the
// machine is lost, the hub is restored elsewhere. Its member comes back by itself; nothing is deleted there and nothing is
// applied again, although the hub does not know the last commit nor the last label.
func TestAHubMovesToANewMachine(t *testing.T) {
	own, err := kubetest.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Stop)
	member, err := kubernetes.NewForConfig(own.Config)
	if err != nil {
		t.Fatal(err)
	}
	m := &moved{
		story: &story{T: t, Fleet: &rig.Fleet{Home: t.TempDir(), Log: t.Output()}, ctx: t.Context()}, repository: sourcetest.New(t), member: member,
	}
	t.Cleanup(m.tellLogs)
	m.repository.Commit(map[string]string{"web/a.yaml": configMap("default", "web", "v", "1"), "extra/b.yaml": configMap("default", "extra", "v", "1"), "staged/c.yaml": configMap("default", "staged", "v", "1")})
	m.run()
	m.join(kubetest.Kubeconfig(t, own.Config))
	m.deliver("web", "env=prod")
	m.deliver("extra", "more=yes")
	m.deliver("staged", "env=prod", v1alpha1.RolloutStage{Name: "all", Bake: &metav1.Duration{Duration: time.Second}})
	m.has("web", "1")
	m.has("staged", "1")
	m.changeRules()

	key, recipient := m.key()
	file := filepath.Join(t.TempDir(), "hub.backup")
	m.umbel("backup", file, "--recipient", recipient)
	m.umbel("backup", "--check", file, "--identity", key)
	m.refused([]string{"backup", "--check", file}, "encrypted", "--identity")

	// What the backup does not know: a commit, which one package gets in stages, and a label for which another comes to the member.
	m.repository.Change(map[string]string{"web/a.yaml": configMap("default", "web", "v", "2"), "staged/c.yaml": configMap("default", "staged", "v", "2")})
	m.umbel("refresh", "package", "--all")
	m.umbel("label", "cluster", "prod-eu", "more=yes")
	m.has("web", "2")
	m.has("extra", "1")
	m.has("staged", "2")
	before := m.versions()

	m.kill()
	if err := os.RemoveAll(m.Home); err != nil {
		t.Fatal(err)
	}
	lost := m.Home
	m.Home = t.TempDir()
	m.restore(file, key)
	m.refused([]string{"restore", file, "--identity", key}, "not empty", hubDir(m.Home))
	if raw, err := os.ReadFile(filepath.Join(hubDir(m.Home), "config.json")); err != nil || strings.Contains(string(raw), lost) {
		t.Errorf("the restored hub still knows the lost machine's folder: %v\n%s", err, raw)
	}
	m.run()
	m.connected()
	m.rulesAreAsChanged()
	m.caughtUp("web")
	m.caughtUp("staged")
	if after := m.versions(); after != before {
		t.Errorf("the member's objects were written: %s before, %s after", before, after)
	}
	m.repository.Change(map[string]string{"web/a.yaml": configMap("default", "web", "v", "3"), "staged/c.yaml": configMap("default", "staged", "v", "3")}) // a commit after the restore
	m.umbel("refresh", "package", "--all")
	m.has("web", "3")
	m.has("staged", "3")
	m.has("extra", "1")                            // which nothing selects now: the label was given after the backup
	m.describes("extra", "umbel restore --finish") // why it is not pruned
	m.umbel("restore", "--finish")
	m.eventually("what nothing selects goes, once somebody has said that this hub is right", func(ctx context.Context) error {
		_, err := m.member.CoreV1().ConfigMaps("default").Get(ctx, "extra", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there (%v)", err)
	})
	m.has("web", "3")
}

func hubDir(home string) string { return filepath.Join(home, "hub") }

// run starts the hub of the data folder, as on a machine of its own.
func (m *moved) run() {
	m.Helper()
	m.hub = exec.Command(rig.Binary("umbel"), "hub", "--home", m.Home, "--allow-local-sources", m.repository.Dir)
	m.hub.Stderr = m.T.Output()
	if err := m.hub.Start(); err != nil {
		m.Fatal(err)
	}
	hub := m.hub
	m.Cleanup(func() { _ = hub.Process.Kill(); _ = hub.Wait() })
	m.eventually("the hub runs", func(ctx context.Context) error {
		_, err := m.Umbel(ctx, "get", "clusters")
		if err != nil {
			return err
		}
		var info corev1.ConfigMap
		return m.api().Get(ctx, kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, &info)
	})
}

func (m *moved) api() kube.Client {
	m.Helper()
	api, err := m.Hub()
	if err != nil {
		m.Fatal(err)
	}
	return api
}

// kill ends the hub as a machine that is lost does.
func (m *moved) kill() {
	m.Helper()
	if err := m.hub.Process.Kill(); err != nil {
		m.Fatal(err)
	}
	_ = m.hub.Wait() // it was killed
	m.eventually("what it started has ended", func(context.Context) error {
		pids, err := m.Processes(m.Home)
		if err == nil && len(pids) > 0 {
			return fmt.Errorf("%v run", pids)
		}
		return err
	})
}

// join makes the cluster a member, with an agent that runs until the test ends.
func (m *moved) join(kubeconfig string) {
	m.Helper()
	dir := m.TempDir()
	_, err := m.Umbel(m.ctx, "join", "prod-eu", "--kubeconfig", kubeconfig, "--agent", "process", "--agent-dir", dir, "--label", "env=prod", "--timeout", "1s")
	if err == nil {
		m.Fatal("a cluster without an agent joined")
	}
	agent := exec.Command(rig.Binary("umbel-agent"), "--dir", dir, "--bootstrap", filepath.Join(dir, "bootstrap.json"), "--kubeconfig", filepath.Join(dir, "kubeconfig"))
	agent.Stderr = m.T.Output()
	if err := agent.Start(); err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { _ = agent.Process.Kill(); _ = agent.Wait() })
	m.connected()
}

func (m *moved) connected() {
	m.Helper()
	m.eventually("the member is connected", func(ctx context.Context) error {
		var member v1alpha1.MemberCluster
		if err := m.api().Get(ctx, kube.ObjectKey{Name: "prod-eu"}, &member); err != nil {
			return err
		}
		c := meta.FindStatusCondition(member.Status.Conditions, v1alpha1.ConditionConnected)
		if c == nil || c.Status != metav1.ConditionTrue {
			return fmt.Errorf("it is %+v", c)
		}
		return nil
	})
}

// deliver makes a placement and a package of the folder of its name, that gets to the member in stages if there are some.
func (m *moved) deliver(name, label string, stages ...v1alpha1.RolloutStage) {
	m.Helper()
	key, value, _ := strings.Cut(label, "=")
	placement := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	placement.Spec.ClusterSelector = metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
	pkg := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: v1alpha1.PackageSpec{
		PlacementRef: v1alpha1.LocalReference{Name: name},
		Source:       v1alpha1.Source{Git: &v1alpha1.GitSource{URL: m.repository.URL(), Path: name}},
	}}
	if len(stages) > 0 {
		pkg.Spec.Rollout = &v1alpha1.RolloutStrategy{Stages: stages}
	}
	for _, o := range []kube.Object{placement, pkg} {
		if err := m.api().Create(m.ctx, o); err != nil {
			m.Fatal(err)
		}
	}
}

func (m *moved) has(name, want string) {
	m.Helper()
	m.eventually(name+" is at "+want, func(ctx context.Context) error {
		got, err := m.member.CoreV1().ConfigMaps("default").Get(ctx, name, metav1.GetOptions{})
		if err == nil && got.Data["v"] != want {
			return fmt.Errorf("it is at %q", got.Data["v"])
		}
		return err
	})
}

// versions are those of what the member holds.
func (m *moved) versions() string {
	m.Helper()
	var all []string
	for _, name := range []string{"extra", "staged", "web"} {
		o, err := m.member.CoreV1().ConfigMaps("default").Get(m.ctx, name, metav1.GetOptions{})
		if err != nil {
			m.Fatal(err)
		}
		all = append(all, name+":"+o.ResourceVersion)
	}
	return strings.Join(all, " ")
}

// caughtUp waits until the member is told of the package again, at the commit that the repository has.
func (m *moved) caughtUp(name string) {
	m.Helper()
	head := m.repository.Git("rev-parse", "HEAD")
	m.eventually(name+" has caught up", func(ctx context.Context) error {
		var pkg v1alpha1.Package
		if err := m.api().Get(ctx, kube.ObjectKey{Namespace: "default", Name: name}, &pkg); err != nil {
			return err
		}
		if pkg.Status.Revision != head || !meta.IsStatusConditionTrue(pkg.Status.Conditions, v1alpha1.ConditionDelivered) {
			return fmt.Errorf("it is at %s: %+v", pkg.Status.Revision, pkg.Status.Conditions)
		}
		return nil
	})
}

// changeRules deletes one of the rules that are shipped, and changes the other.
func (m *moved) changeRules() {
	m.Helper()
	m.eventually("the shipped rules are there", func(ctx context.Context) error {
		deleted, changed := rulesOf("umbel-fleet"), rulesOf("umbel-clusters")
		if err := m.api().Get(ctx, kube.ObjectKeyFromObject(deleted), deleted); err != nil {
			return err
		}
		if err := m.api().Get(ctx, kube.ObjectKeyFromObject(changed), changed); err != nil {
			return err
		}
		changed.Object["spec"] = map[string]any{"groups": []any{ourRules()}}
		if err := m.api().Update(ctx, changed); err != nil {
			return err
		}
		return m.api().Delete(ctx, deleted)
	})
}

// rulesAreAsChanged: a hub that is restored ships no rules anew that were changed or deleted. It has done so when it serves agents.
func (m *moved) rulesAreAsChanged() {
	m.Helper()
	changed, deleted := rulesOf("umbel-clusters"), rulesOf("umbel-fleet")
	if err := m.api().Get(m.ctx, kube.ObjectKeyFromObject(changed), changed); err != nil {
		m.Error(err)
	}
	groups, _, _ := unstructured.NestedSlice(changed.Object, "spec", "groups")
	if diff := cmp.Diff([]any{ourRules()}, groups); diff != "" {
		m.Errorf("rules that were changed (-want +got):\n%s", diff)
	}
	if err := m.api().Get(m.ctx, kube.ObjectKeyFromObject(deleted), deleted); !apierrors.IsNotFound(err) {
		m.Errorf("rules that were deleted are there: %v", err)
	}
}

func ourRules() map[string]any {
	return map[string]any{"name": "ours", "rules": []any{map[string]any{"record": "ours:one", "expr": "vector(1)"}}}
}

func rulesOf(name string) *unstructured.Unstructured {
	o := rules.Object()
	o.SetNamespace(v1alpha1.SystemNamespace)
	o.SetName(name)
	return o
}

// key makes a key of age, and returns its file and its public half.
func (m *moved) key() (file, recipient string) {
	m.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		m.Fatal(err)
	}
	file = filepath.Join(m.TempDir(), "key.txt")
	if err := os.WriteFile(file, []byte(key.String()+"\n"), 0o600); err != nil {
		m.Fatal(err)
	}
	return file, key.Recipient().String()
}

// restore runs the restore, killed at several moments before it is let through.
func (m *moved) restore(file, key string) {
	m.Helper()
	if out := m.umbel("restore", file, "--identity", key, "--dry-run"); !strings.Contains(out, "1 MemberCluster") {
		m.Errorf("a dry run does not say what is in it:\n%s", out)
	}
	if _, err := os.Stat(hubDir(m.Home)); !errors.Is(err, os.ErrNotExist) {
		m.Errorf("a dry run left something: %v", err)
	}
	for _, after := range []time.Duration{100, 1000, 2500, 3500, 4500} {
		ctx, cancel := context.WithTimeout(m.ctx, after*time.Millisecond)
		cmd := exec.CommandContext(ctx, rig.Binary("umbel"), "restore", file, "--identity", key, "--home", m.Home)
		err := cmd.Run()
		cancel()
		if err == nil {
			return // it was faster than that
		}
		if _, err := os.Stat(hubDir(m.Home)); err == nil {
			return // killed when it had moved the hub to its place
		}
	}
	m.umbel("restore", file, "--identity", key)
}
