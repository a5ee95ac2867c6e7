package enrol

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	waiting "k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	kuberest "k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	controllerconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/kube/process"
	"umbel.dev/umbel/internal/lifecycle/local/quorum"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

// member is a cluster with an etcd and an API server of its own, which can be restored. What runs in it, the test plays.
type member struct {
	*testing.T
	client.Client
	plane *controlplane.ControlPlane
	stop  func()
}

func newMember(t *testing.T) *member {
	t.Helper()
	binary, err := kubetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	ports, err := controlplane.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	m := &member{T: t, stop: func() {}}
	m.plane, err = controlplane.New(controlplane.Config{
		Name: "dev", Dir: t.TempDir(), Binary: binary, Address: netip.MustParseAddr("127.0.0.1"), Ports: ports, ServiceCIDR: netip.MustParsePrefix("10.129.0.0/16"),
	})
	m.must(err)
	m.must(m.plane.Prepare())
	m.start()
	t.Cleanup(func() { m.stop() })
	config, err := m.plane.BootstrapConfig()
	m.must(err)
	m.Client, err = client.New(config, client.Options{})
	m.must(err)
	return m
}

func (m *member) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

func (m *member) start() {
	m.Helper()
	supervisor, err := process.New(process.Config{Processes: m.plane.Processes(), LogDir: m.TempDir(), Log: slog.New(slog.DiscardHandler)})
	m.must(err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(m.Context()))
	ended := make(chan error, 1)
	go func() { ended <- supervisor.Run(ctx) }()
	m.stop = func() { cancel(); <-ended }
	ready, done := context.WithTimeout(ctx, 2*time.Minute)
	defer done()
	m.must(supervisor.WaitReady(ready))
}

// snapshot takes one of its etcd.
func (m *member) snapshot() string {
	m.Helper()
	path := filepath.Join(m.TempDir(), "snapshot.db")
	file, err := os.Create(path)
	m.must(err)
	config, err := m.plane.EtcdTLS()
	m.must(err)
	m.must(errors.Join(quorum.Snapshot(m.Context(), m.plane.EtcdURL(), config, file), file.Close()))
	return path
}

func (m *member) restore(snapshot string) {
	m.Helper()
	m.must(m.plane.RestoreAside(m.Context(), snapshot))
	m.stop()
	m.must(m.plane.Restored())
	m.start()
}

// boot returns the token that the agent was given, empty for none.
func (m *member) token() string {
	m.Helper()
	token, err := tokenOf(m.Context(), m)
	m.must(err)
	return token
}

// begins plays an agent that has a key now.
func (m *member) begins(key string) {
	m.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.AgentNamespace, Name: identity.MemberSecret}}
	m.must(client.IgnoreNotFound(m.Delete(m.Context(), secret.DeepCopy())))
	secret.Annotations = map[string]string{identity.FingerprintAnnotation: key}
	m.must(m.Create(m.Context(), secret))
}

// hub is a hub's API on which clusters become members; its gateway the test plays.
type hub struct {
	*testing.T
	client.Client
	config *kuberest.Config
}

func newHub(t *testing.T) *hub {
	t.Helper()
	h := newBareHub(t)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := h.makesMembers(ctx, h.config)
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return h
}

// newBareHub is one on which nobody makes members.
func newBareHub(t *testing.T) *hub {
	t.Helper()
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{t, c, config}
	for _, kind := range []schema.GroupVersionKind{clusterKind, infra.HostedControlPlaneKind} {
		h.serves(kind)
	}
	h.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}})
	h.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, Data: map[string]string{
		v1alpha1.HubInfoAddress: "10.203.0.1:7443", v1alpha1.HubInfoCA: "the CA", v1alpha1.HubInfoAgentImage: "registry.umbel.dev/agent:v1",
	}})
	return h
}

// makesMembers runs the controller until the context ends.
func (h *hub) makesMembers(ctx context.Context, config *kuberest.Config) (ended <-chan error) {
	h.Helper()
	m, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: h.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: controllerconfig.Controller{SkipNameValidation: new(true), UsePriorityQueue: new(false)}, // as in hub
		Client:     client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
	})
	if err != nil {
		h.Fatal(err)
	}
	if err := Setup(m, time.Now, func(string) AuditLog { return "" }); err != nil {
		h.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- m.Start(ctx) }()
	return done
}

func (h *hub) create(o client.Object) {
	h.Helper()
	if err := h.Create(h.Context(), o); client.IgnoreAlreadyExists(err) != nil {
		h.Fatal(err)
	}
}

// serves has the API serve a kind of which anything may be said.
func (h *hub) serves(kind schema.GroupVersionKind) {
	h.Helper()
	plural := strings.ToLower(kind.Kind) + "s"
	h.create(&apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + kind.Group, Annotations: map[string]string{"api-approved.kubernetes.io": "unapproved, of a test"}},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: kind.Group, Scope: apiextensionsv1.NamespaceScoped, Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: plural, Kind: kind.Kind},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: kind.Version, Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{
				OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: new(true)},
			}}},
		},
	})
	h.eventually(kind.Kind+" is served", func() error {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind)
		return h.List(h.Context(), list)
	})
}

func (h *hub) eventually(what string, check func() error) {
	h.Helper()
	var last error
	err := waiting.PollUntilContextTimeout(h.Context(), 100*time.Millisecond, 2*time.Minute, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		h.Fatalf("did not happen: %s: %v", what, last)
	}
}

func (h *hub) object(kind schema.GroupVersionKind, content map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: content}
	o.SetGroupVersionKind(kind)
	o.SetNamespace(metav1.NamespaceDefault)
	o.SetName("dev")
	return o
}

func (h *hub) member() *v1alpha1.MemberCluster {
	h.Helper()
	m := &v1alpha1.MemberCluster{}
	if err := h.Get(h.Context(), client.ObjectKey{Name: "dev"}, m); err != nil {
		h.Fatal(err)
	}
	return m
}

// says writes the status of the member as the gateway does: which key is pinned, whose token is worth nothing then, and whether the agent
// is connected.
func (h *hub) says(key string, connected metav1.ConditionStatus) {
	h.Helper()
	m := h.member()
	before := m.DeepCopy()
	if m.Status.Identity = nil; key != "" {
		m.Status.Identity = &v1alpha1.MemberIdentity{KeyFingerprint: key}
	}
	meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionConnected, Status: connected, Reason: v1alpha1.ReasonProbeTimeout})
	if err := h.Status().Patch(h.Context(), m, client.MergeFrom(before)); err != nil {
		h.Fatal(err)
	}
	if key == "" {
		return
	}
	token := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret("dev")}}
	if err := client.IgnoreNotFound(h.Delete(h.Context(), token)); err != nil {
		h.Fatal(err)
	}
}

// installs waits until the agent was given a token that is another one than that.
func (h *hub) installs(in *member, but string) string {
	h.Helper()
	token := ""
	h.eventually("the agent is installed", func() error {
		if token = in.token(); token == "" || token == but {
			return fmt.Errorf("it has the token %.8q", token)
		}
		return nil
	})
	return token
}

// TestAnAgentComesBackAfterARestore: the cluster's own etcd is restored in place. Of a time at which the agent had the key that the hub
// knows, nothing is done: it comes by that. Of one at which it had another key, or there was none, that key is taken back and the agent
// installed anew, with a token.
func TestAnAgentComesBackAfterARestore(t *testing.T) {
	h, in := newHub(t), newMember(t)
	first, second, third := strings.Repeat("1", 64), strings.Repeat("2", 64), strings.Repeat("3", 64)
	empty := in.snapshot()
	kubeconfig, err := in.plane.Kubeconfig(identity.Request{CommonName: "cluster-api", Organizations: []string{"system:masters"}})
	in.must(err)
	h.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "dev-kubeconfig"}, Data: map[string][]byte{"value": kubeconfig}})
	plane := h.object(infra.HostedControlPlaneKind, map[string]any{})
	h.create(plane)
	cluster := h.object(clusterKind, map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{v1alpha1.JoinAnnotation: "true"}},
		"spec":     map[string]any{"controlPlaneRef": map[string]any{"apiGroup": infra.HostedControlPlaneKind.Group, "kind": infra.HostedControlPlaneKind.Kind, "name": "dev"}},
		"status":   map[string]any{"initialization": map[string]any{"controlPlaneInitialized": true}},
	})
	h.create(cluster)
	h.installs(in, "")
	in.begins(first)
	h.says(first, metav1.ConditionTrue)
	h.looked(cluster) // who looked before the key was pinned may have given another token
	token := in.token()
	early := in.snapshot()

	// Somebody takes the first key back, and the agent has another one since.
	in.begins(second)
	h.says(second, metav1.ConditionTrue)
	late := in.snapshot()

	restored := func(request, snapshot string) {
		t.Helper()
		in.restore(snapshot)
		before := plane.DeepCopy()
		if err := unstructured.SetNestedField(plane.Object, request, "status", "restored"); err != nil {
			t.Fatal(err)
		}
		if err := h.Patch(t.Context(), plane, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
	restored("dev/late@1", late)
	h.says(second, metav1.ConditionUnknown)
	h.looked(cluster)
	if revoked := h.member().Spec.RevokedKeys; len(revoked) != 0 || in.token() != token {
		t.Errorf("of an agent that has its key, %v was taken back, or another token was given", revoked)
	}
	h.says(second, metav1.ConditionTrue)

	restored("dev/early@2", early)
	h.says(second, metav1.ConditionUnknown)
	h.revokes(second)
	h.says("", metav1.ConditionUnknown) // the gateway lets go of it
	token = h.installs(in, token)
	in.begins(third)
	h.says(third, metav1.ConditionTrue)

	restored("dev/empty@3", empty)
	h.says(third, metav1.ConditionUnknown)
	h.revokes(second, third)
	h.says("", metav1.ConditionUnknown)
	h.installs(in, token)
}

// looked waits until the controller has looked at a Cluster, to the end: it has when it begins to once more, and gives the member a label.
func (h *hub) looked(cluster *unstructured.Unstructured) {
	h.Helper()
	for _, turn := range []string{"first", "second"} {
		if err := h.Get(h.Context(), client.ObjectKeyFromObject(cluster), cluster); err != nil {
			h.Fatal(err)
		}
		before := cluster.DeepCopy()
		cluster.SetLabels(map[string]string{"looked": turn})
		if err := h.Patch(h.Context(), cluster, client.MergeFrom(before)); err != nil {
			h.Fatal(err)
		}
		h.eventually("the cluster is looked at", func() error {
			if label := h.member().Labels["looked"]; label != turn {
				return fmt.Errorf("the member's label is %q", label)
			}
			return nil
		})
	}
}

func (h *hub) revokes(keys ...string) {
	h.Helper()
	h.eventually("the key of before is revoked", func() error {
		if revoked := h.member().Spec.RevokedKeys; strings.Join(revoked, ",") != strings.Join(keys, ",") {
			return fmt.Errorf("revoked are %v", revoked)
		}
		return nil
	})
}
