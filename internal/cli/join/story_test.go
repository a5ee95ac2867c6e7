package join

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/lifecycle/enrol"
)

// TestJoinMeetsEveryMember is what joining does, case by case, as its help lists them.
func TestJoinMeetsEveryMember(t *testing.T) {
	both := map[string]string{"env": "prod", "region": "eu"}
	for reason, tell := range map[string]func(*scene){
		"one that the hub does not know": func(s *scene) {
			done := s.meanwhile(s.tokenMade, func() { s.says(ours, metav1.ConditionTrue) })
			s.joins()
			done()
			s.labels(map[string]string{"env": "prod"})
			var token corev1.Secret
			if err := s.api.Get(s.Context(), kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: "join-prod-eu"}, &token); err != nil {
				s.Fatal(err)
			}
			if boot := s.boot(); !identity.TokenMatches(boot.Token, string(token.Data[v1alpha1.JoinTokenHash])) || boot.Cluster != "prod-eu" {
				s.Errorf("the agent was given %+v, which the hub would not accept", boot)
			}
		},
		"one whose agent never came": func(s *scene) {
			s.member("", "")
			done := s.meanwhile(s.tokenMade, func() { s.says(ours, metav1.ConditionTrue) })
			s.joins()
			done()
			s.labels(both)
		},
		"one whose agent has not come yet: it may go on with the token that it has": func(s *scene) {
			s.o.Timeout = time.Second
			s.refused("did not connect", "umbel join")
			first, generation := s.boot(), s.deployment().Generation
			s.refused("did not connect")
			if diff := cmp.Diff(first, s.boot()); diff != "" || s.deployment().Generation != generation {
				s.Errorf("its agent is started anew, generation %d after %d:\n%s", s.deployment().Generation, generation, diff)
			}
		},
		"one whose agent has no time, as on a hub that is slow for once": func(s *scene) {
			s.o.Timeout = time.Nanosecond
			s.refused("did not connect within 1ns")
		},
		"itself, connected: nothing changes": func(s *scene) {
			s.installed(ours)
			s.member(ours, metav1.ConditionTrue)
			before, boot := s.deployment(), s.boot()
			s.joins()
			s.labels(both)
			if diff := cmp.Diff(boot, s.boot()); diff != "" || s.deployment().Generation != before.Generation {
				s.Errorf("its agent is started anew:\n%s", diff)
			}
			if has := s.has(); len(has) != 1 {
				s.Errorf("there are %v, want no token", has)
			}
		},
		"itself, connected: a new image is waited for": func(s *scene) {
			s.installed(ours)
			s.member(ours, metav1.ConditionTrue)
			s.o.Image = new("registry.example.com/umbel/agent:v2")
			done := s.meanwhile(func(context.Context) error { return s.replaced("registry.example.com/umbel/agent:v2") }, func() { s.runs() })
			s.joins()
			done()
		},
		"itself, not connected, since the hub has moved": func(s *scene) {
			s.installed(ours)
			s.member(ours, metav1.ConditionUnknown)
			info := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}}
			if err := s.api.Patch(s.Context(), info, kube.RawPatch("application/merge-patch+json", []byte(`{"data":{"address":"192.0.2.9:7443"}}`))); err != nil {
				s.Fatal(err)
			}
			done := s.meanwhile(func(context.Context) error { return s.replaced("192.0.2.1:7443/umbel/agent:v1") }, func() {
				s.runs()
				s.says(ours, metav1.ConditionTrue)
			})
			s.joins()
			done()
			want := v1alpha1.Bootstrap{Cluster: "prod-eu", Address: "192.0.2.9:7443", CA: "the hub's CA", Token: "the first token"}
			if diff := cmp.Diff(want, s.boot()); diff != "" {
				s.Errorf("what the agent is given (-want +got):\n%s", diff)
			}
		},
		"another one with the name": func(s *scene) {
			s.member(theirs, metav1.ConditionTrue)
			s.refused("taken", theirs[:12], "umbel leave prod-eu")
			if has := s.has(); len(has) > 0 {
				s.Errorf("there are %v, want nothing touched", has)
			}
			s.labels(map[string]string{"region": "eu"})
		},
		"itself, with its key lost": func(s *scene) {
			s.installed("")
			s.member(ours, metav1.ConditionUnknown)
			s.refused("taken", "lost its key", "umbel leave prod-eu --force")
		},
		"itself, of which nobody is to read the audit log: joined again it is not read either": func(s *scene) {
			s.installed(ours)
			s.member(ours, metav1.ConditionTrue)
			generation := s.deployment().Generation
			s.o.AuditLog = new(enrol.AuditLog(""))
			s.joins()
			s.o.AuditLog = nil
			s.joins()
			d := s.deployment()
			if log := chooseAuditLog(nil, "/data/local/prod-eu/audit/audit.log", found{deployment: d}); log != enrol.Unread || d.Generation != generation {
				s.Errorf("it is to read %q, and its pod was started anew: generation %d after %d", log, d.Generation, generation)
			}
		},
		"one that was imported: it is that one": func(s *scene) {
			s.imported("https://kubernetes.default.svc.cluster.local/")
			done := s.meanwhile(s.tokenMade, func() { s.says(ours, metav1.ConditionTrue) })
			s.joins()
			done()
		},
		"one that was imported, and is another one": func(s *scene) {
			s.imported("https://oidc.eks.eu-west-1.amazonaws.com/id/ABC")
			s.refused("imported as projects/1/locations/eu/attachedClusters/shop", "oidc.eks", "kubernetes.default.svc.cluster.local", "kubeconfig of that cluster")
			if has := s.has(); len(has) > 0 {
				s.Errorf("there are %v, want nothing touched", has)
			}
		},
		"one that is leaving": func(s *scene) {
			s.member(ours, metav1.ConditionTrue)
			member := &v1alpha1.MemberCluster{}
			if err := s.api.Get(s.Context(), kube.ObjectKey{Name: "prod-eu"}, member); err != nil {
				s.Fatal(err)
			}
			member.Finalizers = []string{v1alpha1.Finalizer}
			if err := errors.Join(s.api.Update(s.Context(), member), s.api.Delete(s.Context(), member)); err != nil {
				s.Fatal(err)
			}
			s.refused("leaving", "umbel describe cluster prod-eu")
			if has := s.has(); len(has) > 0 {
				s.Errorf("there are %v, want nothing touched", has)
			}
		},
		"a member that wants a second name": func(s *scene) {
			s.installed(ours)
			s.o.Name = "second"
			s.refused(`"prod-eu"`, "umbel leave prod-eu")
			err := s.api.Get(s.Context(), kube.ObjectKey{Name: "second"}, &v1alpha1.MemberCluster{})
			if !apierrors.IsNotFound(err) {
				s.Errorf("the hub has it: %v", err)
			}
		},
	} {
		t.Run(reason, func(t *testing.T) { tell(newScene(t)) })
	}
}

// TestJoinSaysThatTheImageCannotBePulled plays a node that does not trust the hub's registry.
func TestJoinSaysThatTheImageCannotBePulled(t *testing.T) {
	s := newScene(t)
	done := s.meanwhile(s.tokenMade, func() {
		pod := waitingFor("ImagePullBackOff", `Back-off pulling image: ErrImagePull: x509: certificate signed by unknown authority`)
		pod.ObjectMeta = metav1.ObjectMeta{
			Namespace: v1alpha1.AgentNamespace, Name: "umbel-agent-1", Labels: map[string]string{"app.kubernetes.io/name": "umbel-agent"},
		}
		pod.Spec.Containers = []corev1.Container{{Name: "agent", Image: "192.0.2.1:7443/umbel/agent:v1"}}
		pod.Spec.ServiceAccountName = "umbel-agent"
		pod.Status.ContainerStatuses[0].Image = pod.Spec.Containers[0].Image
		status := pod.Status
		if err := wait.PollUntilContextTimeout(s.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			return s.api.Create(ctx, pod.DeepCopy()) == nil, nil // once its service account is there
		}); err != nil {
			s.Error(err)
			return
		}
		pod.Status = status
		if err := s.api.Status().Update(s.Context(), &pod); err != nil {
			s.Error(err)
		}
	})
	s.o.Timeout = 3 * time.Minute
	began := time.Now()
	s.refused("prod-eu", "node-1", "192.0.2.1:7443/umbel/agent:v1", "signed by unknown authority", "umbel hub image", "--image")
	done()
	if took := time.Since(began); took > 2*time.Minute {
		t.Errorf("it waited %v, want an answer before the timeout", took)
	}
}

// TestJoinChoosesTheVolume follows the agent's state onto a volume and into a folder of the node.
func TestJoinChoosesTheVolume(t *testing.T) {
	s := newScene(t)
	s.o.Timeout = time.Second // nobody connects; what is installed is what counts
	s.create(&storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: "fast", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: "example.com/disk",
	})
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.AgentNamespace, Name: stateClaim}}
	level := func() string {
		var ns corev1.Namespace
		if err := s.api.Get(s.Context(), kube.ObjectKey{Name: v1alpha1.AgentNamespace}, &ns); err != nil {
			s.Fatal(err)
		}
		return ns.Labels["pod-security.kubernetes.io/enforce"]
	}
	for _, again := range []string{"first", "again, with a claim that somebody made larger meanwhile"} {
		s.refused("did not connect")
		if err := s.api.Get(s.Context(), kube.ObjectKeyFromObject(claim), claim); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if volume := volumeOf(s.deployment()); *claim.Spec.StorageClassName != "fast" || volume.PersistentVolumeClaim == nil || volume.HostPath != nil || level() != "baseline" {
			t.Errorf("%s: the state is on %+v of class %s, and pods may be %s", again, volume, *claim.Spec.StorageClassName, level())
		}
	}
	s.o.StorageClass = new("none")
	s.refused("did not connect")
	if volume := volumeOf(s.deployment()); volume.PersistentVolumeClaim != nil || volume.HostPath == nil || level() != "privileged" {
		t.Errorf("the state is on %+v, want a folder of the node; pods may be %s", volume, level())
	}
	err := s.api.Get(s.Context(), kube.ObjectKeyFromObject(claim), claim)
	if err == nil && claim.DeletionTimestamp.IsZero() || err != nil && !apierrors.IsNotFound(err) {
		t.Errorf("the claim that nothing uses is still there: %v", err)
	}
	s.o.StorageClass = nil
	s.refused("did not connect")
	if volume := volumeOf(s.deployment()); volume.HostPath == nil {
		t.Errorf("joined again the state is on %+v, want that it stays where it is", volume)
	}
}

// TestJoinLeavesNothingOfAClusterThatIsNotThere: the cluster is asked first.
func TestJoinLeavesNothingOfAClusterThatIsNotThere(t *testing.T) {
	s := newScene(t)
	away := filepath.Join(t.TempDir(), "kubeconfig")
	writeKubeconfig(t, &rest.Config{Host: "https://127.0.0.1:1"}, away)
	s.o.Member = away
	s.refused("https://127.0.0.1:1")
	if err := s.api.Get(s.Context(), kube.ObjectKey{Name: "prod-eu"}, &v1alpha1.MemberCluster{}); !apierrors.IsNotFound(err) {
		t.Errorf("the hub has it: %v", err)
	}
}

// TestProcessJoinsAgain: an agent that runs as a process is known by the key in its folder.
func TestProcessJoinsAgain(t *testing.T) {
	s := newScene(t)
	s.o.Agent, s.o.AgentDir = Process, filepath.Join(t.TempDir(), "agent")
	ring, err := identity.NewKeyring(identity.KeyringConfig{Home: identity.Folder(filepath.Join(s.o.AgentDir, "identity")), BootstrapCA: caPEM(t), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ring.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	s.member(key, metav1.ConditionTrue)
	s.joins()
	s.o.AgentDir = filepath.Join(t.TempDir(), "another")
	s.refused("taken")
}

func TestFlagsThatDoNotFit(t *testing.T) {
	for _, c := range []struct {
		o    Options
		says string
	}{
		{Options{Agent: "daemon"}, "deployment or process"},
		{Options{Agent: Process}, "--agent-dir"},
		{Options{Agent: Process, AgentDir: "a", Image: new("x")}, "--image"},
		{Options{Agent: Process, AgentDir: "a", StorageClass: new("")}, "--storage-class"},
		{Options{Agent: Deployment, Image: new("Not An Image")}, "--image"},
		{Options{Agent: Deployment, Proxy: new("socks5://proxy:1080")}, "--proxy"},
	} {
		if err := c.o.check(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: got %v, want it to say %q", c.o, err, c.says)
		}
	}
}
