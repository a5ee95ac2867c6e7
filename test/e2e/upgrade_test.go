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
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/test/rig"
)

// brew builds programs for a hub to bring: ours, with another agent.
func brew(t *testing.T, agent string, build ...string) (programs string) {
	t.Helper()
	programs = copied(t, "umbel", "umbel-kube", "umbel-coredns", "umbel-pause")
	brewInto(t, programs, "umbel-agent", agent, build...)
	return programs
}

// copied returns a folder with copies of our programs. Links would not do: programs look for the others beside them.
func copied(t *testing.T, names ...string) (programs string) {
	t.Helper()
	programs = t.TempDir()
	for _, name := range names {
		if out, err := exec.Command("cp", rig.Binary(name), programs).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return programs
}

// brewInto builds one program.
func brewInto(t *testing.T, programs, name, source string, build ...string) {
	t.Helper()
	args := append(append([]string{"build", "-trimpath"}, build...), "-o", filepath.Join(programs, name), source)
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = rig.Root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v: %s", source, err, out)
	}
}

const (
	ourAgent     = "./cmd/umbel-agent"
	stampVersion = "-ldflags=-X umbel.dev/umbel/internal/version.Version="
)

// endHub kills the hub, and waits until it is gone.
func (s *story) endHub() {
	s.Helper()
	s.kill("umbel hub", s.Home)
	s.eventually("the hub is gone", func(context.Context) error {
		// The kernel lets go of its lock at its very end.
		if pid, err := hub.Running(s.Home); err != nil || pid != 0 {
			return fmt.Errorf("it is process %d: %v", pid, err)
		}
		return nil
	})
}

// bring has another hub of the same fleet take over, which brings another agent.
func (s *story) bring(programs string) {
	s.Helper()
	s.endHub()
	s.Fleet.Programs = programs
	s.umbel("up", "--example=none", "--cluster=prod,env=prod,region=eu", "--nodes=1")
}

// watch looks at what Umbel applied on a cluster until stop is called: nothing of it may ever be gone or made anew, and what
// is deleted behind its back comes back.
func (s *story) watch(cluster string) (stop func()) {
	client := s.clients(cluster)
	before, err := client.CoreV1().ConfigMaps("shop").Get(s.ctx, "storefront", metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	var watching sync.WaitGroup
	repairs, longest := 0, time.Duration(0)
	watching.Go(func() {
		for ctx.Err() == nil {
			now, err := client.CoreV1().ConfigMaps("shop").Get(ctx, "storefront", metav1.GetOptions{})
			if err == nil && now.UID != before.UID || apierrors.IsNotFound(err) {
				s.Errorf("%s: what is held was deleted during an upgrade: %v", cluster, err)
				return
			}
			_ = client.RbacV1().Roles("shop").Delete(ctx, "pod-reader", metav1.DeleteOptions{})
			began := time.Now()
			err = rig.Eventually(ctx, 5*time.Minute, func(ctx context.Context) error {
				_, err := client.RbacV1().Roles("shop").Get(ctx, "pod-reader", metav1.GetOptions{})
				return err
			})
			if err != nil && ctx.Err() == nil {
				s.Errorf("%s: drift was not repaired during an upgrade: %v", cluster, err)
				return
			}
			if ctx.Err() == nil {
				repairs++
				longest = max(longest, time.Since(began))
			}
			select {
			case <-ctx.Done():
			case <-time.After(6 * time.Second): // what is undone faster again and again is put back less and less often
			}
		}
	})
	return func() {
		cancel()
		watching.Wait()
		s.Logf("%s: %d repairs during the upgrade, the longest took %s", cluster, repairs, longest.Round(time.Millisecond))
	}
}

// runs waits until a cluster's agent is the one that a hub with these programs brings, and the cluster is Ready.
func (s *story) runs(cluster, version string) {
	s.Helper()
	s.eventually(cluster+" runs "+version, func(context.Context) error {
		m := s.member(cluster)
		ready := condition(m.Status.Conditions, v1alpha1.ConditionReady)
		if m.Status.AgentVersion != version || ready.Status != metav1.ConditionTrue {
			return fmt.Errorf("it runs %s, and is %s: %s", m.Status.AgentVersion, ready.Reason, ready.Message)
		}
		return nil
	})
}

// fails asks for an upgrade that has to fail at its first cluster, in a phase and with these words.
func (s *story) fails(cluster string, phase v1alpha1.UpgradePhase, words ...string) {
	s.Helper()
	out, err := s.Umbel(s.ctx, "upgrade", "agents", "--clusters", "umbel-test="+cluster, "--bake=0s", "--wait", "--timeout=6m")
	if err == nil {
		s.Fatalf("the upgrade of %s did not fail:\n%s", cluster, out)
	}
	s.stopped(cluster, phase, words...)
}

// stopped waits until the upgrade says that a cluster stopped it, and why.
func (s *story) stopped(cluster string, phase v1alpha1.UpgradePhase, words ...string) {
	s.Helper()
	s.eventually("the upgrade is stopped by "+cluster, func(context.Context) error {
		status := s.umbel("upgrade", "status")
		for _, word := range append(words, "Stopped", cluster, string(phase)) {
			if !strings.Contains(status, word) {
				return fmt.Errorf("the status does not say %q:\n%s", word, status)
			}
		}
		return nil
	})
	m := s.member(cluster)
	if m.Status.Agent == nil || m.Status.Agent.Upgrade == nil || m.Status.Agent.Upgrade.Phase != phase {
		s.Errorf("%s says of its agent: %+v", cluster, m.Status.Agent)
	}
}

// TestUpgrade upgrades agents from the hub: one that runs as a pod, and one that runs as a process.
func TestUpgrade(t *testing.T) {
	later := brew(t, ourAgent, stampVersion+"v0.0.2-later")
	s := newStory(t, "--cluster=prod,env=prod,region=eu", "--nodes=1")
	s.umbel("local", "create", "edge", "--nodes=0")
	edge := filepath.Join(s.Home, "local", "edge")
	s.umbel("join", "edge", "--kubeconfig", filepath.Join(edge, "kubeconfig"), "--agent=process", "--agent-dir", filepath.Join(edge, "agent"),
		"--label=env=prod", "--label=region=eu")
	for _, cluster := range []string{"prod", "edge"} {
		s.umbel("label", "cluster", cluster, "umbel-test="+cluster)
		s.holds(cluster, "fleet", "cluster", "name", cluster)
	}
	first := s.member("prod").Status.AgentVersion
	s.with("all of them, in two waves", func(s *story) {
		s.bring(later)
		defer s.watch("prod")()
		defer s.watch("edge")()
		s.eventually("the dry run says who is first", func(ctx context.Context) error { // one that is away for a moment is neither
			out, err := s.Umbel(ctx, "upgrade", "agents", "--dry-run")
			if err == nil && (!strings.Contains(out, "edge      Changing") || !strings.Contains(out, "prod      Waiting")) {
				err = errors.New(out)
			}
			return err
		})
		s.runs("edge", first)
		s.umbel("upgrade", "agents", "--bake=1s", "--wait", "--timeout=5m")
		for _, cluster := range []string{"prod", "edge"} {
			s.runs(cluster, "v0.0.2-later")
		}
	})
	s.Fleet.Programs = later
	s.with("a build that ends at once fails its rehearsal", func(s *story) {
		s.bring(brew(t, "./test/e2e/agents/exits"))
		for _, cluster := range []string{"prod", "edge"} {
			stop := s.watch(cluster)
			s.fails(cluster, v1alpha1.UpgradeFailed, "this agent is broken")
			stop()
			s.runs(cluster, "v0.0.2-later")
		}
	})
	s.with("a build that cannot get into session fails its rehearsal", func(s *story) {
		s.bring(brew(t, ourAgent, "-tags=umbel_afternext"))
		for _, cluster := range []string{"prod", "edge"} {
			stop := s.watch(cluster)
			s.fails(cluster, v1alpha1.UpgradeFailed, "upgrade the hub")
			stop()
			s.runs(cluster, "v0.0.2-later")
		}
	})
	s.with("a build that hangs when it matters is rolled back, and the hub is gone", func(s *story) {
		s.bring(brew(t, "./test/e2e/agents/hangs"))
		for _, cluster := range []string{"prod", "edge"} {
			stop := s.watch(cluster)
			s.umbel("upgrade", "agents", "--clusters", "umbel-test="+cluster, "--bake=0s")
			// Not by what the hub says: a process ends in the moment in which it tells the hub.
			s.eventually(cluster+" switches", func(ctx context.Context) error {
				return s.recorded(ctx, cluster, "Armed", "Switched")
			})
			s.endHub()
			s.awaitRollback(cluster)
			s.umbel("up", "--example=none", "--cluster=prod,env=prod,region=eu", "--nodes=1")
			s.stopped(cluster, v1alpha1.UpgradeRolledBack, "not in session in time")
			stop()
			s.runs(cluster, "v0.0.2-later")
		}
	})
}

// awaitRollback waits until the record on the cluster says that its guard, or who started it, brought the agent from before
// back, while the hub can say nothing.
func (s *story) awaitRollback(cluster string) {
	s.Helper()
	err := rig.Eventually(s.ctx, 5*time.Minute, func(ctx context.Context) error { return s.recorded(ctx, cluster, "RolledBack") })
	if err != nil {
		s.Fatalf("%s was not rolled back: %v", cluster, err)
	}
	s.eventually("the agent from before repairs, and no hub is there", func(ctx context.Context) error {
		_, err := s.clients(cluster).RbacV1().Roles("shop").Get(ctx, "pod-reader", metav1.GetOptions{}) // watch deletes it all the while
		return err
	})
}

// recorded says whether the record of the upgrade on the cluster, which needs no hub, is in one of these phases.
func (s *story) recorded(ctx context.Context, cluster string, phases ...string) error {
	raw := ""
	if cluster == "edge" {
		file, err := os.ReadFile(filepath.Join(s.Home, "local", cluster, "agent", "upgrade.json"))
		if err != nil {
			return err
		}
		raw = string(file)
	} else {
		d, err := s.clients(cluster).AppsV1().Deployments(v1alpha1.AgentNamespace).Get(ctx, "umbel-agent", metav1.GetOptions{})
		if err != nil {
			return err
		}
		raw = d.Annotations["umbel.dev/agent-upgrade"]
	}
	for _, phase := range phases {
		if strings.Contains(raw, `"phase":"`+phase+`"`) {
			return nil
		}
	}
	return errors.New(raw)
}

// TestSkew has hubs and agents of two builds beside each other, one version of the protocol apart: each says to the other what
// it does not know. What a fleet is for works either way, and so does coming back together.
func TestSkew(t *testing.T) {
	now := brew(t, ourAgent, stampVersion+"v0.1.0")
	next := brew(t, ourAgent, "-tags=umbel_next", stampVersion+"v0.2.0")
	after := brew(t, ourAgent, "-tags=umbel_afternext", stampVersion+"v0.3.0")
	for programs, build := range map[string][]string{
		now: {stampVersion + "v0.1.0"}, next: {"-tags=umbel_next", stampVersion + "v0.2.0"}, after: {"-tags=umbel_afternext", stampVersion + "v0.3.0"},
	} {
		brewInto(t, programs, "umbel", "./cmd/umbel", build...)
	}
	s := tell(t, &rig.Fleet{Home: t.TempDir(), Log: t.Output(), Programs: now})
	s.serveFrom(now) // first, so that the first certificate lives for seconds, too
	s.umbel("up", "--cluster=edge,env=prod,region=eu", "--nodes=0")
	replies := 0
	works := func(s *story) {
		replies++
		s.eventually("kubectl reaches the cluster", func(ctx context.Context) error {
			_, err := s.Umbel(ctx, "kubectl", "edge", "--", "get", "namespaces")
			return err
		})
		s.roleComesBack("edge")
		greeting := fmt.Sprintf("Hello %d", replies)
		s.commit(greeting, map[string]string{"shop/storefront.yaml": configMap("shop", "storefront", "greeting", greeting)})
		s.holds("edge", "shop", "storefront", "greeting", greeting)
		s.memberSays("edge", v1alpha1.ConditionReady, metav1.ConditionTrue)
		before := s.issued("edge")
		s.eventually("the certificate is renewed", func(context.Context) error {
			if n := s.issued("edge"); n <= before {
				return fmt.Errorf("%d certificates were issued", n)
			}
			return nil
		})
	}
	s.with("an agent of before, and a hub of the next version", func(s *story) {
		s.serveFrom(next)
		s.runs("edge", "v0.1.0")
		works(s)
		s.umbel("upgrade", "agents", "--wait", "--timeout=5m")
		s.runs("edge", "v0.2.0")
		works(s)
	})
	s.with("an agent of the next version, and a hub of before", func(s *story) {
		s.serveFrom(now)
		s.runs("edge", "v0.2.0")
		works(s)
		s.umbel("upgrade", "agents", "--version=v0.1.0", "--wait", "--timeout=5m")
		s.runs("edge", "v0.1.0")
		works(s)
	})
	s.with("two versions apart is refused, and the upgrade is the way out", func(s *story) {
		s.serveFrom(after)
		s.memberSays("edge", v1alpha1.ConditionConnected, metav1.ConditionFalse, "upgrade the agent", "the hub speaks 2 to 3", "(v0.1.0) 1 to 1")
		s.roleComesBack("edge")
		s.umbel("upgrade", "agents")
		s.runs("edge", "v0.3.0")
		works(s)
	})
}

// serveFrom has a hub of other programs take over, whose certificates for members live for seconds.
func (s *story) serveFrom(programs string) {
	s.Helper()
	if pid, err := hub.Running(s.Home); err == nil && pid != 0 {
		s.endHub()
	}
	s.Fleet.Programs = programs
	serving := exec.Command(filepath.Join(programs, "umbel"), "hub", "--home", s.Home, "--listen", "127.0.0.1",
		"--allow-local-sources", s.Repository(), "--member-certificate-life", "20s")
	serving.Stderr = s.Output()
	if err := serving.Start(); err != nil {
		s.Fatal(err)
	}
	go func() { _ = serving.Wait() }() // it ends with the story at the latest
	s.eventually("the hub is at work", func(ctx context.Context) error {
		_, err := s.Umbel(ctx, "get", "clusters")
		return err
	})
}
