package clitest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/clitest"
)

func TestScopeCreate(t *testing.T) {
	f := newFleet(t)
	const who = "scope create team --user ada --group a,b --role edit "
	for _, c := range []struct {
		args string
		want said
	}{
		{"scope create team --role edit --all-clusters --all-namespaces", said{Err: "error: say who: --user NAME, --group NAME or --service-account NAMESPACE/NAME\n", Code: 2}},
		{"scope create team --user ada --all-clusters --all-namespaces", said{Err: "error: say what they may: --role view, edit, admin, or a ClusterRole of your own\n", Code: 2}},
		{who + "--all-namespaces", said{Err: "error: say on which clusters: --clusters LABELS or --all-clusters, one of the two\n", Code: 2}},
		{who + "--all-namespaces --all-clusters --clusters a=b", said{Err: "error: say on which clusters: --clusters LABELS or --all-clusters, one of the two\n", Code: 2}},
		{who + "--all-clusters", said{Err: "error: say in which namespaces: --namespaces NAMES or --all-namespaces, one of the two\n", Code: 2}},
		{who + "--clusters a>1 --all-namespaces", said{Err: "error: the selector \"a>1\" cannot be read: a: \"gt\" is not among =, !=, in, notin, and the key alone\n", Code: 2}},
		{who + "--clusters a=b,a=c --all-namespaces", said{Err: "error: the selector \"a=b,a=c\" cannot be read: a cannot be both \"b\" and \"c\"\n", Code: 2}},
		{who + "--all-clusters --all-namespaces --dry-run=maybe", said{Err: "error: --dry-run is none, client or server, not \"maybe\"\n", Code: 2}},
		{who + "--clusters env=prod,region!=us --namespaces shop,pay --dry-run=server -o name", said{Out: "scope.umbel.dev/team\n"}},
		{who + "--clusters env=prod --all-namespaces --dry-run", said{Out: "scope/team created (dry run)\n"}},
		{who + "--clusters env=nope --namespaces shop,pay --dry-run=server", said{Out: "scope/team created (server dry run)\n", Err: "No clusters match env=nope (of 4 clusters)\n" +
			"the clusters have to have the namespaces (shop, pay): a scope makes none, and catches up when they are there\n"}},
		{"scope create team --user ada --role sre --all-clusters --all-namespaces --dry-run=server", said{Out: "scope/team created (server dry run)\n",
			Err: "the clusters have to have a ClusterRole \"sre\", which the hub does not check: a scope makes none\n"}},
		{"scope create Bad_Name --user ada --role edit --all-clusters --all-namespaces", said{Err: "error: \"Bad_Name\" is no name of a scope: lower case letters, digits and '-', at most 57 characters\n", Code: 2}},
		{who + "--clusters env=prod --namespaces shop", said{Out: "scope/team created; `umbel describe scope team` tells how far it is\n",
			Err: "the clusters have to have the namespaces (shop): a scope makes none, and catches up when they are there\n"}},
		{who + "--clusters env=prod --namespaces shop", said{Err: "error: there is a scope \"team\" already: `umbel describe scope team` shows it, `umbel scope delete team` takes it back; or change it with kubectl, or take another name\n", Code: 1}},
		{"scope delete nobody", said{Err: "error: there is no scope \"nobody\": `umbel get scopes` lists them\n", Code: 1}},
		{"scope delete scope.umbel.dev/team", said{Out: "scope/team deleted\n"}},
	} {
		if diff := cmp.Diff(c.want, f.run(t.Context(), strings.Fields(c.args)...)); diff != "" {
			t.Errorf("umbel %s (-want +got):\n%s", c.args, diff)
		}
	}
	got := f.run(t.Context(), strings.Fields(who+"--clusters env=prod,region!=us --namespaces shop,pay --dry-run=client -o yaml")...)
	clitest.Golden(t, "scope.yaml", got.Out)
	bad := f.run(t.Context(), strings.Fields(who+"--all-clusters --namespaces Shop")...)
	if bad.Code != 1 || !strings.Contains(bad.Err, "a namespace is a DNS label") {
		t.Errorf("a namespace that cannot be: got %+v", bad)
	}
}

// team is a scope that prod-eu has, prod-us may have and dev fails.
func (f *fleet) team(t *testing.T) *v1alpha1.Scope {
	t.Helper()
	scope := &v1alpha1.Scope{ObjectMeta: metav1.ObjectMeta{Name: "team"}, Spec: v1alpha1.ScopeSpec{
		Users: []string{"ada"}, Groups: []string{"team-shop"}, Role: "edit", Namespaces: []string{"shop", "pay"},
		ClusterSelector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}},
	}}
	f.create(t, scope)
	shop := clitest.Shop()
	scope.Status = v1alpha1.ScopeStatus{
		ObservedGeneration: 1, Package: v1alpha1.KeyOf(shop.Namespace, shop.Name), Clusters: shop.Status.Clusters,
		Conditions: []metav1.Condition{
			clitest.Condition(v1alpha1.ConditionPlaced, metav1.ConditionTrue, v1alpha1.ReasonPlaced, "3 clusters are selected"),
			clitest.Condition(v1alpha1.ConditionReachable, metav1.ConditionTrue, v1alpha1.ReasonReachable, "the hub lets its people through to 3 clusters"),
			clitest.Condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonClustersFailing, "failing: dev"),
		},
	}
	if err := f.api.Status().Update(t.Context(), scope); err != nil {
		t.Fatal(err)
	}
	return scope
}

func TestScopeShown(t *testing.T) {
	f := newFleet(t)
	f.team(t)
	for _, c := range []struct {
		args string
		want []string // lines, with one blank where there are more
	}{
		{"get scopes", []string{"NAME READY ROLE CLUSTERS NAMESPACES AGE team False edit 1/3 shop,pay"}},
		{"get scp -o wide", []string{"USERS GROUPS SERVICEACCOUNTS SELECTOR MESSAGE", "ada team-shop - env=prod failing: dev"}},
		{"describe scope team", []string{"Users: ada Groups: team-shop Role: edit Namespaces: shop, pay Selects: env=prod", "Clusters: 1 of 3 ready, 1 failing, 1 unknown",
			"Reachable True Reachable", "dev Failing 3/4", "prod-eu Ready 4/4", "prod-us Unknown 4/4 the cluster is not connected", "dev Deployment.apps shop/web spec.replicas",
			"is the namespace there? `umbel kubectl dev -- get namespaces`"}},
		{"describe scope team -o json", []string{`"scope": {`, `"cluster": "prod-us", "state": "Unknown"`}},
	} {
		got := f.run(t.Context(), strings.Fields(c.args)...)
		text := strings.Join(strings.Fields(got.Out), " ")
		for _, want := range c.want {
			if got.Code != 0 || !strings.Contains(text, want) {
				t.Errorf("umbel %s: no %q in %+v", c.args, want, got)
			}
		}
	}
}

// TestScopeDeleteWaits: the end of a scope waits for its clusters, says for which, and can be forced.
func TestScopeDeleteWaits(t *testing.T) {
	f := newFleet(t)
	scope := f.team(t)
	scope.Finalizers = []string{v1alpha1.Finalizer}
	if err := f.api.Update(t.Context(), scope); err != nil {
		t.Fatal(err)
	}
	apimeta.SetStatusCondition(&scope.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionDelivered, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDeleting, Message: "waiting for prod-us",
	})
	if err := f.api.Status().Update(t.Context(), scope); err != nil {
		t.Fatal(err)
	}
	f.learns(t, "scope delete team --timeout 500ms", func(got said) bool { // in which an API server that is busy may not even take the order
		return got.Code == 1 && (strings.Contains(got.Err, "waiting for prod-us") || strings.Contains(got.Err, "the hub has not said"))
	})
	// The hub's part, by hand.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	watching, err := f.api.Watch(ctx, &v1alpha1.ScopeList{}, kube.MatchingFields{"metadata.name": "team"})
	if err != nil {
		t.Fatal(err)
	}
	defer watching.Stop()
	done := make(chan said, 1)
	go func() { done <- f.run(ctx, "scope", "delete", "team", "--force") }()
	for event := range watching.ResultChan() {
		is, ok := event.Object.(*v1alpha1.Scope)
		if !ok || is.Annotations[v1alpha1.ForceDeleteAnnotation] != "true" || is.DeletionTimestamp.IsZero() {
			continue
		}
		if err := f.api.Patch(ctx, is, kube.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))); err != nil {
			t.Error(err)
		}
		break
	}
	if diff := cmp.Diff(said{Out: "scope/team deleted\n"}, <-done); diff != "" {
		t.Errorf("by force (-want +got):\n%s", diff)
	}
}

// TestClustersOfATeam: who may not list clusters sees those that roles name for him.
func TestClustersOfATeam(t *testing.T) {
	f := newFleet(t)
	const person = "team-person"
	mine := f.as(t, person)
	if got := mine.run(t.Context(), "get", "clusters"); got.Code != 1 || !strings.Contains(got.Err, "cannot list resource") {
		t.Errorf("without any right: got %+v", got)
	}
	f.may(t, person, rbacv1.PolicyRule{
		APIGroups: []string{"umbel.dev"}, Resources: []string{"memberclusters"}, ResourceNames: []string{"prod-us", "prod-eu", "dev", "gone"}, Verbs: []string{"get", "proxy"},
	})
	const want = "membercluster.umbel.dev/prod-eu\nmembercluster.umbel.dev/prod-us\n"
	mine.learns(t, "get clusters -l env=prod -o name", func(got said) bool { return got.Out == want })
}

// TestScopeOfTheTeam: who may read a scope and no Package is told what can be seen of it, and what cannot.
func TestScopeOfTheTeam(t *testing.T) {
	f := newFleet(t)
	f.team(t)
	const person = "team-reader"
	mine := f.as(t, person)
	f.may(t, person, rbacv1.PolicyRule{APIGroups: []string{"umbel.dev"}, Resources: []string{"scopes"}, Verbs: []string{"get"}})
	got := mine.learns(t, "describe scope team", func(got said) bool { return got.Code == 0 })
	holds := func(got said, words ...string) {
		t.Helper()
		text := strings.Join(strings.Fields(got.Out), " ")
		for _, want := range words {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in %+v", want, got)
			}
		}
	}
	holds(got, "Role: edit Namespaces: shop, pay", "Clusters: 1 of 3 ready, 1 failing, 1 unknown",
		`whether these are the latest bindings: packages.umbel.dev "shop" is forbidden: User "team-reader" cannot get`,
		`which clusters have it: memberclusters.umbel.dev is forbidden: User "team-reader" cannot list`)
	if strings.Contains(got.Out, "prod-eu") {
		t.Errorf("it names clusters that may not be read:\n%s", got.Out)
	}
	f.may(t, person,
		rbacv1.PolicyRule{APIGroups: []string{"umbel.dev"}, Resources: []string{"memberclusters"}, ResourceNames: []string{"prod-us", "prod-eu"}, Verbs: []string{"get", "proxy"}},
		rbacv1.PolicyRule{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{v1alpha1.HubLease}, Verbs: []string{"get"}})
	got = mine.learns(t, "describe scope team", func(got said) bool {
		return strings.Contains(got.Out, "prod-eu") && !strings.Contains(got.Err, "leases")
	})
	holds(got, "prod-eu Ready 4/4", "prod-us Unknown 4/4 the cluster is not connected", "clusters that you may not read, or that have not reported yet: 1 of 3")
	var dossier struct {
		Clusters []struct{ Cluster string }
		Unseen   []string
	}
	read(t, mine.run(t.Context(), "describe", "scope", "team", "-o", "json"), &dossier)
	if len(dossier.Clusters) != 2 || len(dossier.Unseen) != 2 {
		t.Errorf("for a program: got %+v", dossier)
	}
}

// as is the fleet as somebody else sees it.
func (f *fleet) as(t *testing.T, person string) *fleet {
	t.Helper()
	raw, err := clientcmd.LoadFromFile(f.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	raw.AuthInfos[raw.Contexts[raw.CurrentContext].AuthInfo].Impersonate = person
	mine := *f
	mine.kubeconfig = t.TempDir() + "/kubeconfig"
	if err := clientcmd.WriteToFile(*raw, mine.kubeconfig); err != nil {
		t.Fatal(err)
	}
	return &mine
}

// may gives rights to somebody.
func (f *fleet) may(t *testing.T, person string, rules ...rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{GenerateName: person + "-"}, Rules: rules}
	f.create(t, role)
	f.create(t, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: person + "-"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: person}},
	})
}

// learns runs a command until the answer is as it should be: an API server takes a moment, such as to learn of a role.
func (f *fleet) learns(t *testing.T, args string, fits func(said) bool) said {
	t.Helper()
	deadline, tick := time.After(2*time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		got := f.run(t.Context(), strings.Fields(args)...)
		if fits(got) {
			return got
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("umbel %s: got %+v", args, got)
		}
	}
}
