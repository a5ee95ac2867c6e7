package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/delivery/sealed"
)

// writes says what somebody wrote, as the page does.
func (b *browser) writes(query, text, base string) (written Written) {
	b.Helper()
	got := b.sends(query, text, base)
	if err := json.Unmarshal([]byte(got.body), &written); err != nil || got.code != http.StatusOK {
		b.Fatalf("%s: %d %s (%v)", query, got.code, got.body, err)
	}
	return written
}

func (b *browser) sends(query, text, base string) answered {
	b.Helper()
	body, err := json.Marshal(draft{Text: text, Base: base})
	if err != nil {
		b.Fatal(err)
	}
	return b.ask(http.MethodPost, "/console/api/manifests/"+query, string(body), "Content-Type", "application/json", ownHeader, "1")
}

// TestWriting: an object is written as YAML with the rights of whoever does so; nothing is kept that was not asked for, or that somebody else has changed meanwhile.
func TestWriting(t *testing.T) {
	h := newHub(t, nil)
	member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "eu", Labels: map[string]string{"region": "eu"}}}
	h.holds(member)
	ada := h.browser()
	ada.signIn(h.token("ada", "cluster-admin"))
	const eu, dry = "memberclusters.umbel.dev?name=eu", "&dryRun=All"
	read := func() (m Manifest) {
		t.Helper()
		ada.reads("/console/api/manifests/"+eu, &m)
		return m
	}
	labels := func() map[string]string {
		t.Helper()
		if err := h.client.Get(t.Context(), client.ObjectKeyFromObject(member), member); err != nil {
			t.Fatal(err)
		}
		return member.Labels
	}
	began := read()
	for _, kept := range []string{"managedFields", "resourceVersion", "uid", "status", "creationTimestamp", "generation"} {
		if strings.Contains(began.Text, kept) {
			t.Errorf("what the API writes is to be written by people:\n%s", began.Text)
		}
	}
	if began.Not != "" || began.Kind != "MemberCluster" || began.Kubectl != "kubectl edit memberclusters.umbel.dev eu" {
		t.Errorf("the manifest is %+v", began)
	}
	mine := strings.Replace(began.Text, "region: eu", "region: eu\n    tier: gold", 1)
	tried := ada.writes(eu+dry, mine, began.Text)
	if !strings.Contains(tried.Diff, "+    tier: gold") || tried.Saved != nil || labels()["tier"] != "" ||
		tried.Kubectl != `kubectl patch memberclusters.umbel.dev eu --type merge -p '{"metadata":{"labels":{"tier":"gold"}}}'` {
		t.Errorf("a dry run is %+v; the labels are %v", tried, labels())
	}
	if nothing := ada.writes(eu+dry, began.Text, began.Text); nothing.Diff != "" || len(nothing.Problems) > 0 {
		t.Errorf("what was not changed changes %+v", nothing)
	}

	before := member.DeepCopy()
	member.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionConnected, Status: metav1.ConditionTrue, Reason: "Test", LastTransitionTime: metav1.Now()}}
	if err := h.client.Status().Patch(t.Context(), member, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	saved := ada.writes(eu, mine, began.Text)
	if saved.Saved == nil || labels()["tier"] != "gold" {
		t.Fatalf("after its status alone has changed: %+v, labels %v", saved, member.Labels)
	}

	before = member.DeepCopy()
	member.Labels["owner"] = "bob"
	if err := h.client.Patch(t.Context(), member, client.MergeFrom(before), client.FieldOwner("kubectl-edit")); err != nil {
		t.Fatal(err)
	}
	mine = strings.Replace(saved.Saved.Text, "tier: gold", "tier: silver", 1)
	late := ada.writes(eu, mine, saved.Saved.Text)
	switch m := late.Meanwhile; {
	case m == nil || late.Saved != nil || labels()["tier"] != "gold":
		t.Fatalf("what somebody else has changed is written over: %+v", late)
	case m.Who != "somebody" || !strings.Contains(m.Diff, "+    owner: bob") || strings.Contains(m.Diff, "tier: silver"):
		t.Errorf("of what changed meanwhile it is said %+v", m)
	case !strings.Contains(m.Both, "owner: bob") || !strings.Contains(m.Both, "tier: silver"):
		t.Errorf("both are\n%s", m.Both)
	}
	if both := ada.writes(eu, late.Meanwhile.Both, late.Meanwhile.Now); both.Saved == nil || labels()["tier"] != "silver" || member.Labels["owner"] != "bob" {
		t.Errorf("both are kept as %+v: %v", both, member.Labels)
	}
	gone := strings.Replace(read().Text, "    owner: bob\n", "", 1)
	if left := ada.writes(eu, gone, read().Text); left.Saved == nil || labels()["owner"] != "" {
		t.Errorf("what was taken away is there: %v", member.Labels)
	}
}

// TestMeanwhile: the program that changed an object last is named, and not one that wrote its status.
func TestMeanwhile(t *testing.T) {
	early, late := metav1.NewTime(noon.Add(-time.Minute)), metav1.NewTime(noon)
	now := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"}, "data": map[string]any{"x": "2"}}}
	now.SetManagedFields([]metav1.ManagedFieldsEntry{
		{Manager: "first", Time: &early}, {Manager: "kubectl-edit", Time: &late}, {Manager: "hub", Time: &metav1.Time{Time: noon.Add(time.Hour)}, Subresource: "status"}, {Manager: "old"},
	})
	p := &papers{of: writables["configmaps"], key: client.ObjectKey{Namespace: "default", Name: "a"}}
	is, err := p.manifest(now)
	if err != nil {
		t.Fatal(err)
	}
	m, err := p.meanwhile(strings.Replace(is.Text, `"2"`, `"1"`, 1), now, is, []byte(`{"data":{"zoo":"3"}}`))
	if err != nil || m.Who != "kubectl-edit" || !m.Time.Equal(&late) || !strings.Contains(m.Diff, `+  x: "2"`) || m.Now != is.Text || !strings.Contains(m.Both, `zoo: "3"`) || !strings.Contains(m.Both, `x: "2"`) {
		t.Errorf("got %+v, %v", m, err)
	}
	about := &auditv1.ObjectReference{Resource: "configmaps", Namespace: "default", Name: "a"}
	good := &metav1.Status{Code: http.StatusOK}
	member := &auditv1.ObjectReference{APIGroup: "umbel.dev", Resource: "memberclusters", Name: "eu"}
	of := &papers{of: writables["memberclusters.umbel.dev"], key: client.ObjectKey{Name: "eu"}}
	for from, want := range map[string]bool{"/hub/apis/umbel.dev/v1alpha1/memberclusters/eu": true, "/clusters/eu/apis/umbel.dev/v1alpha1/memberclusters/eu": false} {
		event := auditv1.Event{ObjectRef: member, ResponseStatus: good, RequestURI: from, Annotations: map[string]string{audit.ClusterAnnotation: "eu"}}
		if got := of.changedBy(&event); got != want {
			t.Errorf("%s is taken for a change of the MemberCluster: %t", from, got)
		}
	}
	for reason, c := range map[string]struct {
		event auditv1.Event
		want  bool
	}{
		"its change":                   {auditv1.Event{ObjectRef: about, ResponseStatus: good}, true},
		"a dry run":                    {auditv1.Event{ObjectRef: about, ResponseStatus: good, RequestURI: "/x?dryRun=All"}, false},
		"one that was refused":         {auditv1.Event{ObjectRef: about, ResponseStatus: &metav1.Status{Code: http.StatusForbidden}}, false},
		"one of which nothing is said": {auditv1.Event{ObjectRef: about}, false},
		"another object's":             {auditv1.Event{ObjectRef: &auditv1.ObjectReference{Resource: "configmaps", Namespace: "default", Name: "b"}, ResponseStatus: good}, false},
		"a member's":                   {auditv1.Event{ObjectRef: about, ResponseStatus: good, Annotations: map[string]string{audit.ClusterAnnotation: "eu"}}, false},
		"no object's":                  {auditv1.Event{ResponseStatus: good}, false},
		"its MemberCluster's":          {auditv1.Event{ObjectRef: member, ResponseStatus: good, Annotations: map[string]string{audit.ClusterAnnotation: "a"}}, false},
	} {
		if got := p.changedBy(&c.event); got != c.want {
			t.Errorf("%s is taken for a change: %t", reason, got)
		}
	}
}

// TestWritingIsRefused: what the API does not take is said where it stands, and who may not is told what it takes.
func TestWritingIsRefused(t *testing.T) {
	h := newHub(t, nil)
	h.holds(&v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "eu"}})
	encrypted := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "encrypted", Annotations: map[string]string{sealed.EncryptedAnnotation: "x"}}, Data: map[string]string{"a": "secret"}}
	looks := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "console-looks"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"umbel.dev"}, Resources: []string{"memberclusters"}, Verbs: []string{"get"}},
	}}
	for _, o := range []client.Object{encrypted, looks} {
		if err := h.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := h.client.Delete(context.WithoutCancel(t.Context()), o); err != nil {
				t.Error(err)
			}
		})
	}
	ada, bob, eve := h.browser(), h.browser(), h.browser()
	ada.signIn(h.token("ada", "cluster-admin"))
	bob.signIn(h.token("bob", ""))
	eve.signIn(h.token("looks", looks.Name))
	const eu = "memberclusters.umbel.dev?name=eu"
	var began Manifest
	ada.reads("/console/api/manifests/"+eu, &began)
	for reason, c := range map[string]struct {
		text string
		want Problem
	}{
		"a field that there is not":   {began.Text + "  bananas: 3\n", Problem{0, "spec.bananas", "there is no such field"}},
		"a value that it cannot have": {strings.Replace(began.Text, "level: Attached", "level: Sideways", 1), Problem{0, "spec.level", "Unsupported value"}},
		"a list that is none":         {began.Text + "  taints: 3\n", Problem{0, "spec.taints", "array"}},
		"a label that is none":        {strings.Replace(began.Text, "  name: eu", "  labels:\n    a: '!'\n  name: eu", 1), Problem{0, "metadata.labels", "Invalid value"}},
		"no YAML":                     {began.Text + "\tx: 3\n", Problem{0, "", "found"}},
		"a field twice":               {began.Text + "spec: {}\n", Problem{0, "", "already"}},
		"two objects":                 {began.Text + "---\na: b\n", Problem{0, "", "one object is written at a time"}},
		"another name":                {strings.Replace(began.Text, "name: eu", "name: us", 1), Problem{0, "metadata.name", `it is "eu" here`}},
		"another kind":                {strings.Replace(began.Text, "MemberCluster", "Package", 1), Problem{2, "kind", `it is "MemberCluster" here`}},
		"nothing":                     {"", Problem{0, "", "nothing is written"}},
		"a list":                      {"- a\n", Problem{0, "", "this is no object"}},
	} {
		written := ada.writes(eu+"&dryRun=All", c.text, began.Text)
		if len(written.Problems) == 0 {
			t.Errorf("%s is taken: %+v", reason, written)
			continue
		}
		got := written.Problems[0]
		lines := strings.Split(c.text, "\n")
		if got.Field != c.want.Field || !strings.Contains(got.Message, c.want.Message) || c.want.Line > 0 && got.Line != c.want.Line {
			t.Errorf("%s: got %+v, want %+v", reason, got, c.want)
		}
		if last := c.want.Field[strings.LastIndex(c.want.Field, ".")+1:]; last != "" && (got.Line == 0 || !strings.Contains(lines[got.Line-1], last)) {
			t.Errorf("%s is said to be at line %d of\n%s", reason, got.Line, c.text)
		}
	}
	ada.want("something that is made by Umbel", ada.ask(http.MethodGet, "/console/api/manifests/secrets?name=x", ""), http.StatusNotFound, "kubectl edit")
	ada.want("what came encrypted", ada.ask(http.MethodGet, "/console/api/manifests/configmaps?namespace=default&name=encrypted", ""), http.StatusForbidden, "came encrypted")
	ada.want("a cluster that there is not", ada.ask(http.MethodGet, "/console/api/manifests/memberclusters.umbel.dev?name=no", ""), http.StatusNotFound, "not found")
	ada.want("a new cluster", ada.ask(http.MethodGet, "/console/api/manifests/memberclusters.umbel.dev", ""), http.StatusNotFound, "is not made of YAML here")
	ada.want("no object to begin with", ada.sends(eu, began.Text, "- a"), http.StatusBadRequest, "what was begun with")
	ada.want("a form", ada.ask(http.MethodPost, "/console/api/manifests/"+eu, "{}", "Content-Type", "application/json"), http.StatusForbidden, ownHeader)
	bob.want("who may not look", bob.ask(http.MethodGet, "/console/api/manifests/"+eu, ""), http.StatusForbidden, "bob")
	var seen Manifest
	eve.reads("/console/api/manifests/"+eu, &seen)
	if seen.Text != began.Text || seen.Not != `that takes the verb "patch" on memberclusters.umbel.dev "eu"` {
		t.Errorf("who may look is told %+v", seen)
	}
	eve.want("who may look, and writes", eve.sends(eu, strings.Replace(began.Text, "  name: eu", "  labels:\n    a: b\n  name: eu", 1), began.Text), http.StatusForbidden, "cannot patch")
}

// TestWritingAnew: a new object begins with what its kind needs, has to have a name, and is made once.
func TestWritingAnew(t *testing.T) {
	h := newHub(t, nil)
	ada := h.browser()
	ada.signIn(h.token("ada", "cluster-admin"))
	for name, of := range writables {
		if of.blank == "" {
			continue
		}
		var blank Manifest
		ada.reads("/console/api/manifests/"+name+"?namespace=default", &blank)
		if blank.Kind != of.kind.Kind || strings.Contains(blank.Text, "NAMESPACE") || blank.Not != "" {
			t.Errorf("a new %s begins with %+v", name, blank)
		}
		unnamed := ada.writes(name+"?dryRun=All", blank.Text, "")
		if len(unnamed.Problems) != 1 || unnamed.Problems[0].Field != "metadata.name" || unnamed.Problems[0].Line == 0 {
			t.Errorf("a %s without a name: %+v", name, unnamed)
		}
		if of.kind.Group != v1alpha1.GroupVersion.Group { // there is no such kind on this API
			continue
		}
		text := strings.Replace(blank.Text, `name: ""`, "name: written", 1)
		tried := ada.writes(name+"?dryRun=All", text, "")
		if !strings.Contains(tried.Diff, "+  name: written") || !strings.HasPrefix(tried.Kubectl, "kubectl create -f - <<'EOF'\napiVersion: umbel.dev/v1alpha1\n") || tried.Saved != nil {
			t.Fatalf("a dry run of a new %s: %+v", name, tried)
		}
		made := ada.writes(name, text, "")
		if made.Saved == nil || made.Name != "written" {
			t.Fatalf("a new %s: %+v", name, made)
		}
		ada.want("one that is there", ada.sends(name, text, ""), http.StatusConflict, "already exists")
		at := url.Values{"name": {"written"}, "namespace": {"default"}}
		var kept Manifest
		ada.reads("/console/api/manifests/"+name+"?"+at.Encode(), &kept)
		if kept.Text != made.Saved.Text {
			t.Errorf("a new %s is kept as\n%s\nand not\n%s", name, kept.Text, made.Saved.Text)
		}
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(of.kind)
		o.SetName("written")
		if of.scope.Name() == "namespace" {
			o.SetNamespace("default")
		}
		if err := h.client.Delete(t.Context(), o); err != nil {
			t.Error(err)
		}
	}
}
