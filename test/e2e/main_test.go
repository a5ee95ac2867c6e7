//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/test/rig"
)

// story is a fleet that a test tells a story with: `umbel up` in a data folder of its own, and `umbel down` at the end.
type story struct {
	*testing.T
	*rig.Fleet
	ctx context.Context
}

// newStory starts a fleet with the flags of `umbel up`.
func newStory(t *testing.T, flags ...string) *story {
	t.Helper()
	s := tell(t, &rig.Fleet{Home: t.TempDir(), Log: t.Output()})
	s.umbel(append([]string{"up"}, flags...)...)
	return s
}

// with tells a part of the story as a subtest.
func (s *story) with(name string, part func(*story)) {
	s.T.Run(name, func(t *testing.T) {
		fleet := *s.Fleet
		fleet.Log = t.Output()
		part(&story{T: t, Fleet: &fleet, ctx: t.Context()})
	})
}

func (s *story) tellLogs() {
	for _, pattern := range []string{"hub/logs/hub.log", "hub/providers/*/logs/*.log", "local/*/var/log/pods/*agent*/*/*.log", "local/*/logs/agent.log"} {
		paths, _ := filepath.Glob(filepath.Join(s.Home, pattern))
		for _, path := range paths {
			raw, err := os.ReadFile(path)
			if err != nil {
				continue
			}
			lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
			s.Logf("the end of %s:\n%s", strings.TrimPrefix(path, s.Home), strings.Join(lines[max(0, len(lines)-30):], "\n"))
		}
	}
}

// umbel runs a command that has to succeed, and returns what it printed.
func (s *story) umbel(args ...string) string {
	s.Helper()
	out, err := s.Umbel(s.ctx, args...)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// refused runs a command that has to fail and whose error has to hold all of the words.
func (s *story) refused(args []string, words ...string) {
	s.Helper()
	out, err := s.Umbel(s.ctx, args...)
	if err == nil {
		s.Fatalf("umbel %s succeeded and should not have:\n%s", strings.Join(args, " "), out)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			s.Errorf("umbel %s does not say %q:\n%v", strings.Join(args, " "), word, err)
		}
	}
}

func (s *story) shell(line string) string {
	s.Helper()
	out, err := s.Shell(s.ctx, line)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

func (s *story) commit(message string, files map[string]string) {
	s.Helper()
	if err := s.Commit(s.ctx, message, files); err != nil {
		s.Fatal(err)
	}
}

func (s *story) clients(cluster string) *kubernetes.Clientset {
	s.Helper()
	c, err := s.Clients(cluster)
	if err != nil {
		s.Fatal(err)
	}
	return c
}

// patience is how long a story waits for what has to happen. A kubelet doubles the time before it starts an agent again that was killed, to
// well over a minute for one that was killed a few times within ten.
const patience = 3 * time.Minute

func (s *story) eventually(what string, check func(ctx context.Context) error) {
	s.Helper()
	if err := rig.Eventually(s.ctx, patience, check); err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

// holds waits until a ConfigMap on a cluster has a value.
func (s *story) holds(cluster, namespace, name, key, want string) {
	s.Helper()
	client := s.clients(cluster)
	s.eventually(fmt.Sprintf("%s: %s/%s has %s=%q", cluster, namespace, name, key, want), func(ctx context.Context) error {
		cm, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if cm.Data[key] != want {
			return fmt.Errorf("it has %q", cm.Data[key])
		}
		return nil
	})
}

// hasNamespace waits until a namespace is there, or is not.
func (s *story) hasNamespace(cluster, name string, want bool) {
	s.Helper()
	client := s.clients(cluster)
	s.eventually(fmt.Sprintf("%s: namespace %s exists: %t", cluster, name, want), func(ctx context.Context) error {
		_, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if (err == nil) != want {
			return fmt.Errorf("exists: %t", err == nil)
		}
		return nil
	})
}

// roleComesBack deletes the role pod-reader on a cluster, straight, and waits for its return.
func (s *story) roleComesBack(cluster string) {
	s.Helper()
	roles := s.clients(cluster).RbacV1().Roles("shop")
	before, err := roles.Get(s.ctx, "pod-reader", metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	if err := roles.Delete(s.ctx, "pod-reader", metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
	s.eventually(cluster+": the role is back", func(ctx context.Context) error {
		after, err := roles.Get(ctx, "pod-reader", metav1.GetOptions{})
		if err == nil && after.UID == before.UID {
			return fmt.Errorf("it is still the one that was deleted")
		}
		return err
	})
}

// member reads a MemberCluster, pkg a Package of the namespace default, as the CLI gives them.
func (s *story) member(name string) (mc v1alpha1.MemberCluster) {
	s.Helper()
	if err := s.reads(s.ctx, &mc, "cluster", name); err != nil {
		s.Fatal(err)
	}
	return mc
}

func (s *story) pkg(name string) (p v1alpha1.Package) {
	s.Helper()
	if err := s.reads(s.ctx, &p, "package", name); err != nil {
		s.Fatal(err)
	}
	return p
}

func (s *story) reads(ctx context.Context, into any, kind, name string) error {
	out, err := s.Umbel(ctx, "get", kind, name, "-o", "json")
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(out), into)
}

func condition(conditions []metav1.Condition, kind string) metav1.Condition {
	for _, c := range conditions {
		if c.Type == kind {
			return c
		}
	}
	return metav1.Condition{Status: metav1.ConditionUnknown, Message: "there is no such condition"}
}

// packageSays waits until a condition of a package has a status, and its message holds the words.
func (s *story) packageSays(name, kind string, status metav1.ConditionStatus, words ...string) {
	s.Helper()
	s.eventually(fmt.Sprintf("package %s: %s is %s", name, kind, status), func(ctx context.Context) error {
		var p v1alpha1.Package
		if err := s.reads(ctx, &p, "package", name); err != nil {
			return err
		}
		c := condition(p.Status.Conditions, kind)
		if c.Status != status {
			return fmt.Errorf("it is %s (%s): %s", c.Status, c.Reason, c.Message)
		}
		for _, word := range words {
			if !strings.Contains(c.Message, word) {
				return fmt.Errorf("its message does not name %q: %s", word, c.Message)
			}
		}
		return nil
	})
}

// describes waits until `umbel describe package` says all of the words.
func (s *story) describes(name string, words ...string) {
	s.Helper()
	s.eventually("describe package "+name+" says what is wrong", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "describe", "package", name)
		if err != nil {
			return err
		}
		for _, word := range words {
			if !strings.Contains(out, word) {
				return fmt.Errorf("it does not say %q:\n%s", word, out)
			}
		}
		return nil
	})
}

func (s *story) memberSays(name, kind string, status metav1.ConditionStatus, words ...string) {
	s.Helper()
	s.eventually(fmt.Sprintf("cluster %s: %s is %s", name, kind, status), func(ctx context.Context) error {
		var mc v1alpha1.MemberCluster
		if err := s.reads(ctx, &mc, "cluster", name); err != nil {
			return err
		}
		c := condition(mc.Status.Conditions, kind)
		if c.Status != status {
			return fmt.Errorf("it is %s (%s): %s", c.Status, c.Reason, c.Message)
		}
		for _, word := range words {
			if !strings.Contains(c.Message, word) {
				return fmt.Errorf("its message does not name %q: %s", word, c.Message)
			}
		}
		return nil
	})
}

// everyCluster is what `umbel up` makes.
var everyCluster = []string{"prod-eu", "prod-us", "dev"}

// uids are the identities of everything that Umbel applied on a cluster: nothing was deleted and made anew when they
// are the same later.
func (s *story) uids(cluster string) map[string]string {
	s.Helper()
	client := s.clients(cluster)
	managed := metav1.ListOptions{LabelSelector: v1alpha1.PackageLabel}
	found := map[string]string{}
	note := func(kind string, objects []metav1.ObjectMeta) {
		for _, o := range objects {
			found[kind+" "+o.Namespace+"/"+o.Name] = string(o.UID)
		}
	}
	namespaces, err := client.CoreV1().Namespaces().List(s.ctx, managed)
	if err != nil {
		s.Fatal(err)
	}
	configMaps, err := client.CoreV1().ConfigMaps("").List(s.ctx, managed)
	if err != nil {
		s.Fatal(err)
	}
	roles, err := client.RbacV1().Roles("").List(s.ctx, managed)
	if err != nil {
		s.Fatal(err)
	}
	note("Namespace", metas(namespaces.Items, func(o corev1.Namespace) metav1.ObjectMeta { return o.ObjectMeta }))
	note("ConfigMap", metas(configMaps.Items, func(o corev1.ConfigMap) metav1.ObjectMeta { return o.ObjectMeta }))
	for _, r := range roles.Items {
		found["Role "+r.Namespace+"/"+r.Name] = string(r.UID)
	}
	return found
}

func metas[T any](objects []T, of func(T) metav1.ObjectMeta) []metav1.ObjectMeta {
	var all []metav1.ObjectMeta
	for _, o := range objects {
		all = append(all, of(o))
	}
	return all
}

// onHub runs kubectl on the hub.
func (s *story) onHub(args string) {
	s.Helper()
	s.eventually("kubectl "+args, func(context.Context) error {
		_, err := s.Shell(s.ctx, `umbel-kube kubectl --kubeconfig "$UMBEL_HOME/hub/admin.kubeconfig" `+args)
		return err
	})
}

// restartHub ends the hub, as kill -9 does, and starts it again with the same command.
func (s *story) restartHub() {
	s.Helper()
	var pids []int
	s.eventually("the hub is one process", func(context.Context) (err error) { // what it starts looks like it for a moment
		if pids, err = s.Processes("umbel hub", s.Home); err == nil && len(pids) != 1 {
			err = fmt.Errorf("its processes are %v", pids)
		}
		return err
	})
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pids[0]))
	if err != nil {
		s.Fatal(err)
	}
	s.kill("umbel hub", s.Home)
	s.eventually("the hub has ended", func(context.Context) error {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pids[0])); err == nil {
			return fmt.Errorf("process %d is there", pids[0])
		}
		return nil
	})
	log, err := os.OpenFile(filepath.Join(s.Home, "hub", "logs", "hub.log"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.Fatal(err)
	}
	defer log.Close()
	args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	hub := exec.Command(args[0], args[1:]...)
	hub.Stdout, hub.Stderr = log, log
	if err := hub.Start(); err != nil {
		s.Fatal(err)
	}
	go hub.Wait() //nolint:errcheck // `umbel down` ends it; here it is only kept from staying a zombie
}

// kill ends every process of this fleet whose command line holds the words, as kill -9 does.
func (s *story) kill(words ...string) {
	s.Helper()
	pids, err := s.Processes(words...)
	if err != nil {
		s.Fatal(err)
	}
	if len(pids) == 0 {
		s.Fatalf("there is no process with %q", words)
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
			s.Fatal(err)
		}
	}
}
