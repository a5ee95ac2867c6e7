package preview

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"filippo.io/age"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/delivery/sealed"
	"umbel.dev/umbel/internal/delivery/sops"
	"umbel.dev/umbel/internal/delivery/sops/sopstest"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// memberKeys open files as a member does.
type memberKeys struct{ t *testing.T }

// Open implements sealed.Keys.
func (k memberKeys) Open(file *sops.File) (*sops.Plain, error) {
	key, err := file.Key([]age.Identity{sopstest.Identity(k.t)})
	if err != nil {
		return nil, err
	}
	return file.Open(key)
}

// quoting is an API server that refuses every apply, and quotes what is in the object.
type quoting struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (q quoting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPatch {
		return q.next.RoundTrip(r)
	}
	message := "Invalid value: " + sopstest.Marker
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: 422, Reason: metav1.StatusReasonInvalid, Message: message,
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: metav1.CauseTypeFieldValueInvalid, Field: "data.password", Message: message}}},
	}
	raw, err := json.Marshal(status)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: 422, Status: "422", Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(bytes.NewReader(raw)), ContentLength: int64(len(raw)),
	}, nil
}

// sealedEntries renders encrypted files into a namespace.
func sealedEntries(t *testing.T, namespace, more string, names ...string) []bundle.Entry {
	t.Helper()
	files := fstest.MapFS{"kustomization.yaml": {Data: []byte("namespace: " + namespace + "\n" + more + "\nresources: [" + strings.Join(names, ", ") + "]\n")}}
	for _, name := range names {
		files[name] = &fstest.MapFile{Data: sopstest.File(t, name)}
	}
	rendered, err := render.Objects(files, ".")
	if err != nil {
		t.Fatal(err)
	}
	all, err := rendered.For(nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Of an object that came encrypted it is said whether its values change, by somebody who has no key, and none of them is shown, be it a
// Secret or not.
func TestPreviewOfWhatIsEncrypted(t *testing.T) {
	config := kubetest.Start(t)
	api := kubernetes.NewForConfigOrDie(config)
	ns := kubetest.Namespace(t, config)
	t.Cleanup(func() { // other tests look at what the package has anywhere
		for _, name := range []string{"secrets/app", "configmaps/settings"} {
			if err := api.CoreV1().RESTClient().Delete().AbsPath("/api/v1/namespaces/" + ns + "/" + name).Do(context.WithoutCancel(t.Context())).Error(); err != nil {
				t.Error(err)
			}
		}
	})
	sent, err := outgoing.All(shop, sealedEntries(t, ns, "", "app.yaml", "settings.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range sent {
		body, err := sealed.Open(o.Body, o.Files, memberKeys{t})
		if err != nil {
			t.Fatal(err)
		}
		path := fmt.Sprintf("/api/v1/namespaces/%s/%ss/%s", ns, strings.ToLower(o.ID.Kind), o.ID.Name)
		err = api.CoreV1().RESTClient().Patch(types.ApplyPatchType).AbsPath(path).
			VersionedParams(&metav1.PatchOptions{FieldManager: v1alpha1.FieldManager}, metav1.ParameterCodec).Body(body).Do(t.Context()).Error()
		if err != nil {
			t.Fatal(err)
		}
	}
	look := func(more string, names ...string) *Preview {
		c, err := Prepare(shop, sealedEntries(t, ns, more, names...))
		if err != nil {
			t.Fatal(err)
		}
		member, err := Open(config)
		if err != nil {
			t.Fatal(err)
		}
		seen, err := member.Of(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(seen)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(raw); strings.Contains(text, "marker") || strings.Contains(text, "dW1iZWwtbWFya2Vy") || strings.Contains(text, "ENC[") {
			t.Errorf("it is shown: %s", text)
		}
		return seen
	}
	if seen := look("", "app.yaml", "settings.yaml"); seen.Same != 2 || len(seen.Changes) != 0 {
		t.Errorf("the same: %+v", seen)
	}
	if seen := look("", "app-2.yaml", "settings.yaml"); seen.Same != 1 || len(seen.Changes) != 1 || seen.Changes[0].Note != "changed (encrypted)" {
		t.Errorf("another value: %+v", seen)
	}
	if seen := look("labels: [{pairs: {tier: back}}]", "app.yaml", "settings.yaml"); len(seen.Changes) != 2 ||
		seen.Changes[0].Note != "" || !strings.Contains(seen.Changes[0].Diff, "+    tier: back") || !strings.Contains(seen.Changes[1].Diff, "+    tier: back") {
		t.Errorf("another label: %+v", seen)
	}
	whole, refusing := config, rest.CopyConfig(config)
	refusing.Wrap(func(next http.RoundTripper) http.RoundTripper { return quoting{next} })
	config = refusing
	if seen := look("", "app-2.yaml"); len(seen.Changes) == 0 || !strings.Contains(seen.Changes[0].Problem, "the API server refused it (422 Invalid): data.password (FieldValueInvalid)") {
		t.Errorf("refused: %+v", seen)
	}
	config = whole
	if seen := look("namePrefix: new-", "app.yaml"); len(seen.Changes) != 3 || seen.Changes[0].Action != Add || !strings.HasPrefix(seen.Changes[0].Note, "encrypted") {
		t.Errorf("a new one: %+v", seen)
	}
}

// TestPreviewOfASecretsStringData: it is compared as data, a value that the API server would refuse is told without it, and nothing of a
// Secret is repeated that the API server says.
func TestPreviewOfASecretsStringData(t *testing.T) {
	config := kubetest.Start(t)
	ns := kubetest.Namespace(t, config)
	path := "/api/v1/namespaces/" + ns + "/secrets/keys"
	api := kubernetes.NewForConfigOrDie(config)
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {namespace: " + ns + ", name: keys}\n%s: {pin: %s}\n"
	apply(t, api, v1alpha1.FieldManager, path, fmt.Sprintf(secret, "stringData", `"20260101777"`))
	t.Cleanup(func() { // other tests look at what the package has anywhere
		if err := api.CoreV1().RESTClient().Delete().AbsPath(path).Do(context.WithoutCancel(t.Context())).Error(); err != nil {
			t.Error(err)
		}
	})
	drift := []byte(`{"stringData":{"pin":"theirs"}}`)
	if _, err := api.CoreV1().Secrets(ns).Patch(t.Context(), "keys", types.MergePatchType, drift, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
		t.Fatal(err)
	}
	member, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ field, value, problem string }{
		{"stringData", `"20260101777"`, ""},
		{"stringData", "20260101777", "stringData.pin: is not a string: put it in quotes"},
		{"data", "20260101777", "the API server refused it"},
	} {
		seen, err := member.Of(t.Context(), content(t, fmt.Sprintf(secret, c.field, c.value)))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(seen)
		if err != nil {
			t.Fatal(err)
		}
		if len(seen.Changes) != 1 || !strings.HasPrefix(seen.Changes[0].Problem, c.problem) || (c.problem == "") != (seen.Changes[0].Problem == "") {
			t.Errorf("%s %s: %s", c.field, c.value, raw)
		}
		if c.problem == "" && !strings.Contains(seen.Changes[0].Diff, "+  pin: (not shown) (another one)") {
			t.Errorf("the drift is not there: %s", raw)
		}
		if strings.Contains(string(raw), "20260101777") || strings.Contains(string(raw), "MjAyNjAxMDE3Nzc") {
			t.Errorf("%s %s is shown: %s", c.field, c.value, raw)
		}
	}
}
