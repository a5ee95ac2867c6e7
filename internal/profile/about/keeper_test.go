package about

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) {
	klog.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

var resource = schema.GroupVersionResource{Group: "about.k8s.io", Version: "v1beta1", Resource: "clusterproperties"}

// member is a cluster with a Keeper.
type member struct {
	t          *testing.T
	config     *rest.Config
	client     dynamic.Interface
	properties dynamic.ResourceInterface
	keeper     *Keeper
}

func newMember(t *testing.T) *member {
	t.Helper()
	config := kubetest.Start(t)
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	m := &member{t: t, config: config, client: client, properties: client.Resource(resource)}
	t.Cleanup(func() {
		err := client.Resource(crds).Delete(context.WithoutCancel(t.Context()), "clusterproperties.about.k8s.io", metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
		m.eventually("the kind is gone", func() error {
			_, err := client.Resource(crds).Get(context.WithoutCancel(t.Context()), "clusterproperties.about.k8s.io", metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is there (%v)", err)
		})
	})
	return m
}

// run starts a Keeper, as an agent that starts.
func (m *member) run() {
	m.t.Helper()
	keeper, err := New(Needs{Config: m.config, Cluster: "prod-eu", Log: slog.New(slog.NewTextHandler(m.t.Output(), nil))})
	if err != nil {
		m.t.Fatal(err)
	}
	m.keeper = keeper
	ctx, cancel := context.WithCancel(m.t.Context())
	done := make(chan error, 1)
	go func() { done <- keeper.Run(ctx) }()
	m.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Errorf("the keeper ended with %v", err)
		}
	})
}

func (m *member) eventually(what string, check func() error) {
	m.t.Helper()
	var last error
	ctx := context.WithoutCancel(m.t.Context())
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 60*time.Second, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		m.t.Fatalf("did not happen: %s: %v", what, last)
	}
}

// holds waits until the cluster's properties are these.
func (m *member) holds(want map[string]string) {
	m.t.Helper()
	m.eventually("its properties", func() error {
		list, err := m.properties.List(m.t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		got := map[string]string{}
		for _, p := range list.Items {
			got[p.GetName()], _, _ = unstructured.NestedString(p.Object, "spec", "value")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

// reports waits until the hub is to be told these.
func (m *member) reports(want map[string]string) {
	m.t.Helper()
	m.eventually("what the hub is told", func() error {
		got := map[string]string{}
		for _, p := range m.keeper.Read().GetItems() {
			got[p.GetName()] = p.GetValue()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

// put writes a property as somebody else.
func (m *member) put(name, value string) {
	m.t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "about.k8s.io/v1beta1", "kind": "ClusterProperty",
		"metadata": map[string]any{"name": name}, "spec": map[string]any{"value": value},
	}}
	_, err := m.properties.Apply(m.t.Context(), name, object, metav1.ApplyOptions{FieldManager: "somebody", Force: true})
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *member) delete(resource dynamic.ResourceInterface, name string) {
	m.t.Helper()
	if err := resource.Delete(m.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		m.t.Fatal(err)
	}
}

// TestAClusterSaysWhereItBelongs, from a cluster without the kind to one that has left.
func TestAClusterSaysWhereItBelongs(t *testing.T) {
	m := newMember(t)
	m.run()
	m.holds(map[string]string{ClusterProperty: "prod-eu"})
	m.keeper.Belongs("umbel-abc")
	both := map[string]string{ClusterProperty: "prod-eu", ClusterSetProperty: "umbel-abc"}
	m.holds(both)
	m.reports(both)

	m.put(ClusterProperty, "another")
	m.holds(both)
	m.delete(m.properties, ClusterSetProperty)
	m.holds(both)
	kinds := m.client.Resource(crds)
	first, err := kinds.Get(t.Context(), "clusterproperties.about.k8s.io", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.delete(kinds, first.GetName())
	m.eventually("the kind is installed again", func() error {
		again, err := kinds.Get(t.Context(), first.GetName(), metav1.GetOptions{})
		if err == nil && again.GetUID() == first.GetUID() {
			return errors.New("it has not gone yet")
		}
		return err
	})
	m.holds(both)
	m.keeper.Belongs("") // a hub that does not say takes nothing away
	m.put("fingerprint.example.com", "1")
	m.reports(map[string]string{ClusterProperty: "prod-eu", ClusterSetProperty: "umbel-abc", "fingerprint.example.com": "1"})

	for range 2 {
		if err := m.keeper.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	m.holds(map[string]string{"fingerprint.example.com": "1"})
	m.delete(m.properties, "fingerprint.example.com")
	if err := m.keeper.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.eventually("the kind goes with the last of them", func() error {
		_, err := m.properties.List(t.Context(), metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is served (%v)", err)
	})
}

// TestWhatSomebodyElseMadeIsTheirs: a property and a kind of another component stay as they are, to the last field.
func TestWhatSomebodyElseMadeIsTheirs(t *testing.T) {
	m := newMember(t)
	if _, err := (&api{client: m.client}).ensureKind(t.Context()); err != nil {
		t.Fatal(err)
	}
	patch := []byte(`{"metadata":{"labels":{"app.kubernetes.io/managed-by":"somebody"}}}`)
	kinds := m.client.Resource(crds)
	theirs, err := kinds.Patch(t.Context(), "clusterproperties.about.k8s.io", "application/merge-patch+json", patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.put(ClusterSetProperty, "their-fleet")
	m.run()
	m.keeper.Belongs("umbel-abc")
	want := map[string]string{ClusterProperty: "prod-eu", ClusterSetProperty: "their-fleet"}
	m.holds(want)
	m.reports(want)
	if err := m.keeper.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.holds(map[string]string{ClusterSetProperty: "their-fleet"})
	m.delete(m.properties, ClusterSetProperty)
	if err := m.keeper.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := kinds.Get(t.Context(), theirs.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(theirs.Object["spec"], after.Object["spec"]); diff != "" || after.GetUID() != theirs.GetUID() {
		t.Errorf("the kind changed:\n%s", diff)
	}
}

func TestPlan(t *testing.T) {
	ours := func(name, value string) Property { return Property{Name: name, Value: value, Ours: true} }
	for _, c := range []struct {
		reason string
		set    string
		there  []Property
		want   []Write
	}{
		{"nothing is there, and the fleet is not known", "", nil, []Write{{ClusterProperty, "a", true}}},
		{"nothing is there", "s", nil, []Write{{ClusterProperty, "a", true}, {ClusterSetProperty, "s", true}}},
		{"all is there", "s", []Property{ours(ClusterProperty, "a"), ours(ClusterSetProperty, "s")}, nil},
		{"somebody changed ours", "s", []Property{ours(ClusterProperty, "b"), ours(ClusterSetProperty, "s")}, []Write{{ClusterProperty, "a", false}}},
		{"the fleet is not known any more", "", []Property{ours(ClusterProperty, "a"), ours(ClusterSetProperty, "s")}, nil},
		{"others wrote them", "s", []Property{{ClusterProperty, "x", false}, {ClusterSetProperty, "y", false}}, nil},
	} {
		if diff := cmp.Diff(c.want, Plan("a", c.set, nil, "", c.there)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}

// TestPlanRecipients: what to encrypt for is said by the agent, whoever wrote it before, and as much of it as there is room for.
func TestPlanRecipients(t *testing.T) {
	rest := []Property{{ClusterProperty, "a", true}, {ClusterSetProperty, "s", true}}
	with := func(value string, ours bool) []Property {
		return append(slices.Clone(rest), Property{v1alpha1.RecipientsProperty, value, ours})
	}
	long := strings.Repeat("x", v1alpha1.MaxPropertyValue-len("age1a"))
	for _, c := range []struct {
		reason string
		to     []string
		there  []Property
		want   []Write
	}{
		{"they are not known yet", nil, with("age1a", true), nil},
		{"it is the first", []string{"age1a"}, rest, []Write{{v1alpha1.RecipientsProperty, "age1a", true}}},
		{"another one", []string{"age1b", "age1a"}, with("age1a", true), []Write{{v1alpha1.RecipientsProperty, "age1b\nage1a", false}}},
		{"somebody would have it theirs", []string{"age1a"}, with("age1mine", false), []Write{{v1alpha1.RecipientsProperty, "age1a", false}}},
		{"there is no room for all", []string{"age1a", long}, with("age1a", true), nil},
	} {
		if diff := cmp.Diff(c.want, Plan("a", "s", c.to, "", c.there)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}

// TestReport: what the hub is told is bounded, and says in any case where the cluster belongs.
func TestReport(t *testing.T) {
	there := []Property{
		{Name: ClusterSetProperty, Value: "s"}, {Name: ClusterProperty, Value: "a"},
		{Name: "aaa-long", Value: strings.Repeat("x", v1alpha1.MaxPropertyValue+1)},
	}
	for i := range 100 {
		there = append(there, Property{Name: fmt.Sprintf("a%03d", i), Value: "v"})
	}
	var names []string
	for _, p := range Report(there).GetItems() {
		names = append(names, p.GetName())
	}
	if len(names) != v1alpha1.MaxProperties || names[0] != "a000" || names[62] != ClusterProperty || names[63] != ClusterSetProperty {
		t.Errorf("got %d: %v", len(names), names)
	}
	if Report(nil) == nil {
		t.Error("no properties are not known ones")
	}
}

// TestWhatWouldBeSaid: of a cluster where nothing is written the hub is told what would be, and what stands there already.
func TestWhatWouldBeSaid(t *testing.T) {
	there := []Property{{Name: "theirs", Value: "1"}, {Name: ClusterSetProperty, Value: "another fleet"}}
	would := Would(there, Plan("dev", "fleet", nil, "2027-01-01T00:00:00Z CA", there))
	want := map[string]string{"theirs": "1", ClusterSetProperty: "another fleet", ClusterProperty: "dev", v1alpha1.CertificateProperty: "2027-01-01T00:00:00Z CA"}
	for _, p := range would {
		if want[p.Name] != p.Value {
			t.Errorf("%s is %q", p.Name, p.Value)
		}
	}
	if len(would) != len(want) || len(there) != 2 {
		t.Errorf("got %v, of %v", would, there)
	}
}
