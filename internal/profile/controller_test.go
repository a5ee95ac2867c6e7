package profile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	inventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/profile"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

// rig is a hub's API with the controller.
type rig struct {
	t   *testing.T
	api client.Client
}

func start(t *testing.T) *rig {
	t.Helper()
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	kubetest.InstallProfiles(t, config)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, inventory.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, api: api}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}
	r.must(client.IgnoreAlreadyExists(api.Create(t.Context(), namespace)))
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{UsePriorityQueue: new(false), SkipNameValidation: new(true)}, // as in hub
	})
	r.must(err)
	r.must(profile.Setup(mgr))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the manager ended with %v", err)
		}
		ctx := context.WithoutCancel(t.Context())
		r.must(api.DeleteAllOf(ctx, &v1alpha1.MemberCluster{}))
		r.must(api.DeleteAllOf(ctx, &inventory.ClusterProfile{}, client.InNamespace(v1alpha1.SystemNamespace)))
		r.must(api.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace(v1alpha1.SystemNamespace)))
	})
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) eventually(what string, check func() error) {
	r.t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(r.t.Context(), 20*time.Millisecond, 2*time.Minute, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		r.t.Fatalf("did not happen: %s: %v", what, last)
	}
}

func (r *rig) member(name string, labels map[string]string) *v1alpha1.MemberCluster {
	r.t.Helper()
	m := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	r.must(r.api.Create(r.t.Context(), m))
	return m
}

// says writes a status, as the gateway does.
func (r *rig) says(m *v1alpha1.MemberCluster, change func(*v1alpha1.MemberClusterStatus)) {
	r.t.Helper()
	before := m.DeepCopy()
	change(&m.Status)
	r.must(r.api.Status().Patch(r.t.Context(), m, client.MergeFrom(before)))
}

func (r *rig) announce(address string) {
	r.t.Helper()
	info := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap},
		Data:       map[string]string{v1alpha1.HubInfoAddress: address, v1alpha1.HubInfoCA: "CA\n"},
	}
	err := r.api.Create(r.t.Context(), info.DeepCopy())
	if apierrors.IsAlreadyExists(err) {
		err = r.api.Update(r.t.Context(), info)
	}
	r.must(err)
}

func (r *rig) profile(name string) (*inventory.ClusterProfile, error) {
	var p inventory.ClusterProfile
	err := r.api.Get(r.t.Context(), client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: name}, &p)
	return &p, err
}

// shows waits until the profile of a member reads like this (see text).
func (r *rig) shows(name, want string) {
	r.t.Helper()
	r.eventually("the profile of "+name, func() error {
		p, err := r.profile(name)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(strings.TrimSpace(want), text(p)); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

func text(p *inventory.ClusterProfile) string {
	lines := []string{fmt.Sprintf("labels %v", p.Labels), fmt.Sprintf("manager %s kubernetes %s", p.Spec.ClusterManager.Name, p.Status.Version.Kubernetes)}
	for _, c := range p.Status.Conditions {
		lines = append(lines, fmt.Sprintf("%s %s %s", c.Type, c.Status, c.Reason))
	}
	for _, property := range p.Status.Properties {
		lines = append(lines, property.Name+"="+property.Value)
	}
	for _, a := range p.Status.AccessProviders {
		lines = append(lines, fmt.Sprintf("%s %s %q", a.Name, a.Cluster.Server, a.Cluster.CertificateAuthorityData))
	}
	return strings.Join(lines, "\n")
}

func condition(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: "m"}
}

// TestAMemberHasAProfile from the day that it is made to the day that it is gone.
func TestAMemberHasAProfile(t *testing.T) {
	r := start(t)
	r.announce("192.0.2.1:7443")
	m := r.member("prod-eu", map[string]string{"env": "prod", "empty": ""})
	r.shows("prod-eu", `
labels map[empty: env:prod x-k8s.io/cluster-manager:umbel]
manager umbel kubernetes 
ControlPlaneHealthy Unknown AwaitingAgent
Joined Unknown AwaitingAgent
env=prod
umbel https://192.0.2.1:7443/clusters/prod-eu "CA\n"`)

	r.says(m, func(s *v1alpha1.MemberClusterStatus) {
		meta.SetStatusCondition(&s.Conditions, condition(v1alpha1.ConditionJoined, metav1.ConditionTrue, v1alpha1.ReasonKeyPinned))
		meta.SetStatusCondition(&s.Conditions, condition(v1alpha1.ConditionConnected, metav1.ConditionTrue, v1alpha1.ReasonProbeAnswered))
		s.KubernetesVersion, s.AgentVersion = "v1.36.3", "v0.3.0"
		s.Properties = []v1alpha1.MemberProperty{{Name: "cluster.clusterset.k8s.io", Value: "prod-eu", Since: metav1.Now()}, {Name: "env", Value: "said", Since: metav1.Now()}}
	})
	r.shows("prod-eu", `
labels map[empty: env:prod x-k8s.io/cluster-manager:umbel]
manager umbel kubernetes v1.36.3
ControlPlaneHealthy True ProbeAnswered
Joined True KeyPinned
cluster.clusterset.k8s.io=prod-eu
env=said
umbel.dev/agent-version=v0.3.0
umbel https://192.0.2.1:7443/clusters/prod-eu "CA\n"`)

	r.says(m, func(s *v1alpha1.MemberClusterStatus) {
		meta.SetStatusCondition(&s.Conditions, condition(v1alpha1.ConditionConnected, metav1.ConditionUnknown, v1alpha1.ReasonProbeTimeout))
		s.Properties = nil
	})
	r.announce("192.0.2.2:7443")
	r.shows("prod-eu", `
labels map[empty: env:prod x-k8s.io/cluster-manager:umbel]
manager umbel kubernetes v1.36.3
ControlPlaneHealthy Unknown ProbeTimeout
Joined True KeyPinned
env=prod
umbel.dev/agent-version=v0.3.0
umbel https://192.0.2.2:7443/clusters/prod-eu "CA\n"`)

	p, err := r.profile("prod-eu")
	r.must(err)
	if owner := metav1.GetControllerOf(p); owner == nil || owner.UID != m.UID {
		t.Errorf("its owner is %v", owner)
	}
	r.must(r.api.Delete(t.Context(), p))
	r.eventually("what somebody deleted is back", func() error {
		again, err := r.profile("prod-eu")
		if err == nil && again.UID == p.UID {
			return errors.New("it has not gone yet")
		}
		return err
	})
	r.must(r.api.Delete(t.Context(), m))
	r.eventually("it goes with its member", func() error {
		_, err := r.profile("prod-eu")
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there (%v)", err)
	})
}

// TestNothingIsWrittenWhenNothingShows: what an agent reports all day does not touch the profile.
func TestNothingIsWrittenWhenNothingShows(t *testing.T) {
	r := start(t)
	m := r.member("quiet", nil)
	var before *inventory.ClusterProfile
	r.eventually("the profile", func() (err error) {
		if before, err = r.profile("quiet"); err == nil && len(before.Status.Conditions) == 0 {
			return errors.New("it has no status yet")
		}
		return err
	})
	for i := range 5 {
		r.says(m, func(s *v1alpha1.MemberClusterStatus) {
			s.Packages = []v1alpha1.MemberPackage{{Package: "shop/web", Phase: v1alpha1.PackageApplying, Objects: int32(i), Since: metav1.Now()}}
		})
	}
	other := r.member("later", nil) // whose profile comes after whatever those made
	r.eventually("the profile of another", func() error { _, err := r.profile(other.Name); return err })
	after, err := r.profile("quiet")
	r.must(err)
	if after.ResourceVersion != before.ResourceVersion {
		t.Errorf("it was written:\n%s", cmp.Diff(before, after))
	}
}

// TestAForeignProfileIsNeverTouched, whether its name is that of a member or not.
func TestAForeignProfileIsNeverTouched(t *testing.T) {
	r := start(t)
	var foreign []*inventory.ClusterProfile
	for _, name := range []string{"taken", "free"} {
		p := &inventory.ClusterProfile{
			ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: name, Labels: map[string]string{inventory.LabelClusterManagerKey: "other"}},
			Spec:       inventory.ClusterProfileSpec{ClusterManager: inventory.ClusterManager{Name: "other"}},
		}
		r.must(r.api.Create(t.Context(), p))
		foreign = append(foreign, p)
	}
	m := r.member("taken", nil)
	r.eventually("the member says so", func() error {
		var events eventsv1.EventList
		r.must(r.api.List(t.Context(), &events))
		for _, e := range events.Items {
			if e.Reason == "ProfileTaken" && e.Regarding.Name == "taken" && strings.Contains(e.Note, `"other"`) {
				return nil
			}
		}
		return fmt.Errorf("%d events", len(events.Items))
	})
	r.must(r.api.Delete(t.Context(), m))
	last := r.member("last", nil)
	r.eventually("the profile of another", func() error { _, err := r.profile(last.Name); return err })
	for _, before := range foreign {
		after, err := r.profile(before.Name)
		r.must(err)
		if after.ResourceVersion != before.ResourceVersion {
			t.Errorf("it was written:\n%s", cmp.Diff(before, after))
		}
	}
}
