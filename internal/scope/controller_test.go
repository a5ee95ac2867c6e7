package scope_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/scope"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

// world is the scope controller against a real API. Placements are decided, and Packages delivered, by the hand of the
// test.
type world struct {
	client.Client
	t      *testing.T
	config *rest.Config
}

func start(t *testing.T) *world {
	t.Helper()
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, clientgoscheme.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, config: config}
	var err error
	if w.Client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}
	if err := w.Create(t.Context(), system); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	cached, err := scope.Cached()
	w.must(err)
	again := true
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Cache: cache.Options{ByObject: cached},
		Controller: ctrlconfig.Controller{SkipNameValidation: &again, UsePriorityQueue: new(false)}, // as in hub
	})
	w.must(err)
	w.must(scope.Setup(mgr))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := mgr.Start(ctx); err != nil {
			t.Errorf("the manager ended: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) eventually(what string, check func() string) {
	w.t.Helper()
	deadline, tick := time.After(2*time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		complaint := check()
		if complaint == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("%s: %s", what, complaint)
		}
	}
}

func (w *world) scope(name string) *v1alpha1.Scope {
	s := &v1alpha1.Scope{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.Spec = v1alpha1.ScopeSpec{
		Users: []string{"ada"}, Role: "view", Namespaces: []string{"shop"},
		ClusterSelector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}},
	}
	return s
}

// change changes an object. Its controller may write it in between.
func change[T client.Object](w *world, object T, how func(T)) {
	w.t.Helper()
	w.must(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		how(object)
		return w.Update(w.t.Context(), object)
	}))
}

func (w *world) made(name string) (*v1alpha1.Placement, *v1alpha1.Package) {
	w.t.Helper()
	key := client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.ScopePackage(name)}
	var placement v1alpha1.Placement
	var pkg v1alpha1.Package
	w.eventually("what follows from "+name, func() string {
		for _, object := range []client.Object{&placement, &pkg} {
			if err := w.Get(w.t.Context(), key, object); err != nil {
				return err.Error()
			}
		}
		return ""
	})
	return &placement, &pkg
}

// decide writes the decision of a Placement, as package placement does.
func (w *world) decide(name string, status metav1.ConditionStatus, clusters ...v1alpha1.ClusterName) {
	w.t.Helper()
	w.must(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		placement, _ := w.made(name)
		if status == metav1.ConditionTrue {
			placement.Status.Clusters, placement.Status.Selected, placement.Status.ObservedGeneration = clusters, int32(len(clusters)), placement.Generation
		}
		meta.SetStatusCondition(&placement.Status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionDecided, Status: status, Reason: v1alpha1.ReasonDecided, Message: "by the test", ObservedGeneration: placement.Generation,
		})
		return w.Status().Update(w.t.Context(), placement)
	}))
}

// deliver writes the state of a Package, as package delivery does.
func (w *world) deliver(name string, status metav1.ConditionStatus, reason, message string) {
	w.t.Helper()
	w.must(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		_, pkg := w.made(name)
		for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionDelivered} {
			meta.SetStatusCondition(&pkg.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: pkg.Generation})
		}
		pkg.Status.Clusters = v1alpha1.ClusterCounts{Summary: "2/2", Selected: 2, Ready: 2}
		return w.Status().Update(w.t.Context(), pkg)
	}))
}

// says waits for a condition of a Scope that begins with STATUS REASON and has the text in its message.
func (w *world) says(name, condition, begin, text string) {
	w.t.Helper()
	w.eventually(condition+" of scope "+name, func() string {
		var s v1alpha1.Scope
		if err := w.Get(w.t.Context(), client.ObjectKey{Name: name}, &s); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(s.Status.Conditions, condition)
		if c == nil || s.Status.ObservedGeneration != s.Generation {
			return "none"
		}
		got := fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message)
		if !strings.HasPrefix(got, begin) || !strings.Contains(got, text) {
			return fmt.Sprintf("got %q, want %q with %q", got, begin, text)
		}
		return ""
	})
}

// reached returns the clusters that the hub lets a user through to, by the API's own word, of those that are asked for.
func (w *world) reached(user string, clusters ...v1alpha1.ClusterName) []v1alpha1.ClusterName {
	w.t.Helper()
	person := rest.CopyConfig(w.config)
	person.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	as, err := client.New(person, client.Options{Scheme: w.Scheme()})
	w.must(err)
	var may []v1alpha1.ClusterName
	for _, cluster := range clusters {
		if mayI(w, as, cluster) {
			may = append(may, cluster)
		}
	}
	return may
}

func (w *world) reaches(user string, want ...v1alpha1.ClusterName) {
	w.t.Helper()
	w.eventually("the clusters that "+user+" reaches", func() string {
		got := w.reached(user, "dev", "prod-eu", "prod-us")
		if !slices.Equal(got, want) {
			return fmt.Sprintf("got %v, want %v", got, want)
		}
		return ""
	})
}

// TestScope is the life of a Scope on the hub.
func TestScope(t *testing.T) {
	w := start(t)
	w.must(w.Create(t.Context(), w.scope("shop")))
	w.says("shop", v1alpha1.ConditionPlaced, "False Undecided", "")
	w.reaches("ada")
	w.decide("shop", metav1.ConditionTrue, "prod-eu", "prod-us")
	w.reaches("ada", "prod-eu", "prod-us")
	w.says("shop", v1alpha1.ConditionReachable, "True Reachable", "2 clusters")
	w.says("shop", v1alpha1.ConditionReady, "Unknown Delivering", "package umbel-system/scope-shop")
	w.deliver("shop", metav1.ConditionTrue, v1alpha1.ReasonDelivered, "on 2/2 clusters")
	w.says("shop", v1alpha1.ConditionReady, "True Delivered", "on 2/2 clusters")

	// The clusters change, down to none, which is not all.
	w.decide("shop", metav1.ConditionTrue, "prod-us")
	w.reaches("ada", "prod-us")
	w.decide("shop", metav1.ConditionTrue)
	w.reaches("ada")
	w.says("shop", v1alpha1.ConditionPlaced, "True NoClusters", "")
	w.decide("shop", metav1.ConditionTrue, "prod-eu", "prod-us")
	w.reaches("ada", "prod-eu", "prod-us")

	// What cannot be decided takes nothing away; who is meant follows at once all the same.
	s := w.scope("shop")
	change(w, s, func(s *v1alpha1.Scope) {
		s.Spec.ClusterSelector.MatchLabels["region"] = "eu"
		s.Spec.Users = []string{"ada", "grace"}
	})
	w.says("shop", v1alpha1.ConditionPlaced, "False Undecided", "")
	w.decide("shop", metav1.ConditionFalse)
	w.says("shop", v1alpha1.ConditionPlaced, "False Undecided", "by the test")
	w.reaches("grace", "prod-eu", "prod-us")
	w.reaches("ada", "prod-eu", "prod-us")
	change(w, s, func(s *v1alpha1.Scope) { s.Spec.Users = []string{"ada"} })
	w.reaches("grace")
	w.decide("shop", metav1.ConditionTrue, "prod-eu")
	w.reaches("ada", "prod-eu")

	// Another role is another binding.
	change(w, s, func(s *v1alpha1.Scope) { s.Spec.Role = "edit" })
	w.eventually("the binding has the new role", func() string {
		_, pkg := w.made("shop")
		if text := string(pkg.Spec.Source.Inline.Objects[0].Raw); !strings.Contains(text, `"name":"umbel:scope:shop:edit"`) {
			return text
		}
		return ""
	})

	// Deleted: the way through the hub is closed at once, and the Scope waits for the members.
	_, pkg := w.made("shop")
	change(w, pkg, func(p *v1alpha1.Package) { p.Finalizers = []string{v1alpha1.Finalizer} }) // as package delivery does
	w.must(w.Delete(t.Context(), s))
	w.reaches("ada")
	w.deliver("shop", metav1.ConditionFalse, v1alpha1.ReasonDeleting, "waiting for clusters that may hold it and are not connected: edge")
	w.says("shop", v1alpha1.ConditionDelivered, "False Deleting", "not connected: edge")
	change(w, pkg, func(p *v1alpha1.Package) { p.Finalizers = nil })
	w.gone(s, pkg, &v1alpha1.Placement{ObjectMeta: pkg.ObjectMeta}, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "umbel:scope:shop"}})
}

func (w *world) gone(objects ...client.Object) {
	w.t.Helper()
	for _, object := range objects {
		w.eventually(fmt.Sprintf("the end of %T %s", object, object.GetName()), func() string {
			if err := w.Get(w.t.Context(), client.ObjectKeyFromObject(object), object); !apierrors.IsNotFound(err) {
				return fmt.Sprintf("it is there: %v", err)
			}
			return ""
		})
	}
}

// TestForcedEnd: a member that does not come back does not hold a Scope for ever, and is not forgotten either.
func TestForcedEnd(t *testing.T) {
	w := start(t)
	s := w.scope("forced")
	w.must(w.Create(t.Context(), s))
	w.decide("forced", metav1.ConditionTrue, "prod-eu")
	_, pkg := w.made("forced")
	change(w, pkg, func(p *v1alpha1.Package) { p.Finalizers = []string{v1alpha1.Finalizer} })
	w.must(w.Delete(t.Context(), s))
	w.says("forced", v1alpha1.ConditionDelivered, "False Deleting", "")
	change(w, s, func(s *v1alpha1.Scope) { s.Annotations = map[string]string{v1alpha1.ForceDeleteAnnotation: "true"} })
	w.gone(s)
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(pkg), pkg); err != nil || pkg.DeletionTimestamp.IsZero() {
		t.Fatalf("the package, which waits for a member: got %v, deleted %v", err, pkg.DeletionTimestamp)
	}

	// Another Scope of this name begins when that is over.
	next := w.scope("forced")
	w.must(w.Create(t.Context(), next))
	w.says("forced", v1alpha1.ConditionPlaced, "False NameTaken", "Package umbel-system/scope-forced of an earlier Scope of this name is still being taken back")
	change(w, pkg, func(p *v1alpha1.Package) { p.Finalizers = nil })
	w.eventually("the new package", func() string {
		if _, now := w.made("forced"); now.UID == pkg.UID || !metav1.IsControlledBy(now, next) {
			return "it is the old one"
		}
		return ""
	})
}

// TestPutBack: what a person does to what follows from a Scope is undone, and what was a person's is left alone.
func TestPutBack(t *testing.T) {
	w := start(t)
	w.must(w.Create(t.Context(), w.scope("kept")))
	w.decide("kept", metav1.ConditionTrue, "prod-eu")
	w.reaches("ada", "prod-eu")
	placement, pkg := w.made("kept")
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "umbel:scope:kept"}}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "umbel:scope:kept"}}
	was := pkg.DeepCopy()

	for _, tc := range []struct {
		reason string
		harm   func()
	}{
		{"a selector that selects everything", func() {
			change(w, placement, func(p *v1alpha1.Placement) { p.Spec.ClusterSelector = metav1.LabelSelector{} })
		}},
		{"another source", func() {
			change(w, pkg, func(p *v1alpha1.Package) {
				p.Spec.Source = v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://example.org/x.git"}}
			})
		}},
		{"more clusters", func() { change(w, role, func(r *rbacv1.ClusterRole) { r.Rules[0].ResourceNames = nil }) }},
		{"no label", func() { change(w, role, func(r *rbacv1.ClusterRole) { r.Labels = nil; r.Rules = nil }) }},
		{"no role", func() { w.must(w.Delete(t.Context(), role)) }},
		{"somebody else", func() { change(w, binding, func(b *rbacv1.ClusterRoleBinding) { b.Subjects[0].Name = "mallory" }) }},
		{"another role", func() {
			w.must(w.Get(t.Context(), client.ObjectKeyFromObject(binding), binding))
			w.must(w.Delete(t.Context(), binding))
			binding.ResourceVersion, binding.RoleRef.Name = "", "cluster-admin"
			if err := w.Create(t.Context(), binding); err != nil && !apierrors.IsAlreadyExists(err) { // it was put back already
				t.Fatal(err)
			}
		}},
	} {
		tc.harm()
		w.eventually(tc.reason, func() string {
			placement, pkg := w.made("kept")
			if placement.Spec.ClusterSelector.MatchLabels["env"] != "prod" || pkg.Spec.Source.Inline == nil ||
				string(pkg.Spec.Source.Inline.Objects[0].Raw) != string(was.Spec.Source.Inline.Objects[0].Raw) {
				return fmt.Sprintf("got %v and %v", placement.Spec, pkg.Spec)
			}
			for _, object := range []client.Object{role, binding} {
				if err := w.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
					return err.Error()
				}
			}
			if binding.RoleRef.Name != "umbel:scope:kept" || binding.Subjects[0].Name != "ada" || role.Labels[v1alpha1.ScopeLabel] != "kept" ||
				len(role.Rules) != 1 || !slices.Equal(role.Rules[0].ResourceNames, []string{"prod-eu"}) {
				return fmt.Sprintf("got %v, %v", binding, role)
			}
			return ""
		})
		w.decide("kept", metav1.ConditionTrue, "prod-eu") // a changed Placement asks for it again
	}
	w.reaches("mallory")

	// Nothing is written when nothing changes.
	w.says("kept", v1alpha1.ConditionReachable, "True Reachable", "1 cluster")
	versions := func() string {
		placement, pkg := w.made("kept") // of a Package the generation: the test writes its status
		w.must(w.Get(t.Context(), client.ObjectKeyFromObject(role), role))
		w.must(w.Get(t.Context(), client.ObjectKeyFromObject(binding), binding))
		return fmt.Sprint(placement.ResourceVersion, pkg.Generation, role.ResourceVersion, binding.ResourceVersion)
	}
	before := versions()
	w.deliver("kept", metav1.ConditionTrue, v1alpha1.ReasonDelivered, "again")
	w.says("kept", v1alpha1.ConditionReady, "True Delivered", "again")
	if after := versions(); after != before {
		t.Errorf("versions %s became %s", before, after)
	}

	// A package that a person made is a person's.
	own := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "scope-theirs"}}
	own.Spec.Source.Git, own.Spec.PlacementRef.Name = &v1alpha1.GitSource{URL: "https://example.org/x.git"}, "prod"
	w.must(w.Create(t.Context(), own))
	theirs := w.scope("theirs")
	w.must(w.Create(t.Context(), theirs))
	w.says("theirs", v1alpha1.ConditionReady, "False NameTaken", "Package umbel-system/scope-theirs is there already and was not made by this Scope")
	w.must(w.Delete(t.Context(), theirs))
	w.gone(theirs)
	w.must(w.Get(t.Context(), client.ObjectKeyFromObject(own), own))
	if !own.DeletionTimestamp.IsZero() || own.Spec.Source.Git == nil {
		t.Error("the package that a person made was touched")
	}
}
