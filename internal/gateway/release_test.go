package gateway

import (
	"net/http"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// TestWhoReadsAContent: the content of a Release is for who may read releases/content there, and a Release that names the content
// of another package opens nothing.
func TestWhoReadsAContent(t *testing.T) {
	h := newHub(t)
	namespace := kubetest.Namespace(t, h.api)
	release := func(name, repository, digest string) {
		t.Helper()
		h.create(&v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1alpha1.ReleaseSpec{
			PackageRef: v1alpha1.LocalReference{Name: "web"}, Revision: "1", Repository: repository,
			Source:   v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example.com/fleet.git", Path: "."}},
			Variants: []v1alpha1.Variant{{Digest: digest, Size: 1, Objects: 1}},
		}})
	}
	ours, theirs := "sha256:"+strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64)
	own := v1alpha1.KeyOf(namespace, "web").Repository()
	release("web-1", own, ours)
	release("web-forged", "packages/other.web", theirs)
	reader, stranger, other := h.person(namespace, "reader"), h.person(namespace, "stranger"), h.person(namespace, "other")
	for name, resource := range map[string]string{"reader": "releases/content", "other": "releases"} {
		meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
		h.create(&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"umbel.dev"}, Resources: []string{resource}, Verbs: []string{"get"}}}})
		h.create(&rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
		})
		what, part, _ := strings.Cut(resource, "/")
		h.may("system:serviceaccount:"+namespace+":"+name, authorizationv1.ResourceAttributes{Namespace: namespace, Group: "umbel.dev", Resource: what, Subresource: part, Verb: "get"})
	}
	at := v1alpha1.ContentPath + namespace
	for _, c := range []struct {
		reason string
		code   int
		method string
		path   string
		want   string
	}{
		{"a content of it", http.StatusOK, "GET", at + "/web-1/" + ours, "content of /v2/" + own + "/blobs/" + ours},
		{"whatever is asked beside", http.StatusOK, "GET", at + "/web-1/" + ours + "?from=x", "content of /v2/" + own + "/blobs/" + ours},
		{"a content that it does not have", http.StatusNotFound, "GET", at + "/web-1/" + theirs, "has no content"},
		{"a release that names what is another package's", http.StatusNotFound, "GET", at + "/web-forged/" + theirs, "has no content"},
		{"no such release", http.StatusNotFound, "GET", at + "/web-2/" + ours, "there is no release"},
		{"another namespace", http.StatusForbidden, "GET", v1alpha1.ContentPath + "default/web-1/" + ours, "on releases.umbel.dev/content in namespace"},
		{"a way out", http.StatusNotFound, "GET", at + "/web-1/..%2f" + ours, "NAMESPACE/NAME/DIGEST"},
		{"too little", http.StatusNotFound, "GET", at + "/web-1", "NAMESPACE/NAME/DIGEST"},
		{"to write", http.StatusMethodNotAllowed, "PUT", at + "/web-1/" + ours, "for reading"},
	} {
		code, text := h.knock(reader, c.method, c.path)
		if code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: answered %d %s, want %d with %q", c.reason, code, text, c.code, c.want)
		}
	}
	if code, text := h.knock(stranger, "GET", at+"/web-1/"+ours); code != http.StatusForbidden || strings.Contains(text, "content of /v2") {
		t.Errorf("a stranger is answered %d %s", code, text)
	}
	if code, text := h.knock(other, "GET", at+"/web-1/"+ours); code != http.StatusForbidden || strings.Contains(text, "content of /v2") {
		t.Errorf("who may read releases alone is answered %d %s", code, text)
	}
	if code, _ := h.knock(nil, "GET", at+"/web-1/"+ours); code != http.StatusUnauthorized {
		t.Errorf("nobody is answered %d", code)
	}
	lines, _ := h.recorded("system:serviceaccount:" + namespace + ":stranger")
	if got := strings.Join(lines, ", "); got != "get  releases/web-1 403" {
		t.Errorf("of the stranger it is recorded %q", got)
	}
}
