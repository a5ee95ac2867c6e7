package apply

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/klauspost/compress/zstd"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/keyring"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/delivery/sops/sopstest"
)

// vault is a station whose member has keys of its own.
type vault struct {
	*station
	keys *keyring.Keyring
	logs *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

// Write implements io.Writer.
func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) copied() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.Bytes())
}

func newVault(t *testing.T) *vault {
	t.Helper()
	v := &vault{station: newStation(t), logs: &syncBuffer{}}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AgentNamespace}}
	if _, err := v.client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.dropKeys() })
	v.station.log = v.logs
	v.open()
	return v
}

// open gives the member its keys, and starts the engine.
func (v *vault) open() {
	v.t.Helper()
	v.keys = keyring.New(keyring.Needs{Client: v.client, Log: slog.New(slog.NewTextHandler(v.logs, nil)), Now: time.Now})
	v.secrets = v.keys
	v.start()
	v.keys.Changed(v.engine.Unlocked)
	stop := v.stop
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _ = v.keys.Run(ctx); close(done) }()
	v.stop = sync.OnceFunc(func() { stop(); cancel(); <-done })
}

func (v *vault) dropKeys() {
	_ = v.client.CoreV1().Secrets(v1alpha1.AgentNamespace).DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{})
}

// recipient is what to encrypt for.
func (v *vault) recipient() string {
	v.t.Helper()
	v.eventually("the cluster has a key", func() error {
		if len(v.keys.Recipients()) == 0 {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	return v.keys.Recipients()[0]
}

// encrypted renders a file that is encrypted for a recipient, as the hub does, into the station's namespace.
func (v *vault) encrypted(name, recipient string, more ...string) []bundle.Entry {
	v.t.Helper()
	files := fstest.MapFS{
		"kustomization.yaml": {Data: []byte("namespace: " + v.namespace + "\nresources: [" + strings.Join(append([]string{"secret.yaml"}, more...), ", ") + "]\n")},
		"secret.yaml":        {Data: sopstest.For(v.t, name, recipient)},
	}
	for _, m := range more {
		files[m] = &fstest.MapFile{Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + strings.TrimSuffix(m, ".yaml") + "}\n")}
	}
	rendered, err := render.Objects(files, ".")
	if err != nil {
		v.t.Fatal(err)
	}
	entries, err := rendered.For(nil)
	if err != nil {
		v.t.Fatal(err)
	}
	return entries
}

func (v *vault) has(name, password string) {
	v.t.Helper()
	v.eventually("Secret "+name, func() error {
		got, err := v.client.CoreV1().Secrets(v.namespace).Get(v.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if string(got.Data["password"]) != password || string(got.Data["token"]) != password {
			return fmt.Errorf("it has %d values that are others", len(got.Data))
		}
		return nil
	})
}

// tells says where a text is, or what it looks like in base64 or hex, in the agent's folder (unpacked too), in its logs, and in what it
// reports.
func (v *vault) tells(secret string) []string {
	v.t.Helper()
	needles := formsOf(secret)
	var found []string
	look := func(where string, content []byte) {
		for _, needle := range needles {
			if bytes.Contains(content, needle) {
				found = append(found, fmt.Sprintf("%s has %q", where, needle))
			}
		}
	}
	look("the log", v.logs.copied())
	for _, st := range v.engine.Held() {
		look("the status", []byte(st.String()))
	}
	look("the journal as it is reported", []byte(v.engine.journal().String()))
	zip, err := zstd.NewReader(nil)
	if err != nil {
		v.t.Fatal(err)
	}
	defer zip.Close()
	files := 0
	err = filepath.WalkDir(v.dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // the engine has taken it away meanwhile
			return nil
		}
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		files++
		look(path, raw)
		if plain, err := zip.DecodeAll(raw, nil); err == nil {
			look(path+", unpacked", plain)
		}
		return nil
	})
	if err != nil || files == 0 {
		v.t.Fatalf("%d files: %v", files, err)
	}
	events, err := v.client.CoreV1().Events("").List(v.t.Context(), metav1.ListOptions{})
	if err != nil {
		v.t.Fatal(err)
	}
	raw, err := json.Marshal(events)
	if err != nil {
		v.t.Fatal(err)
	}
	look("an event", raw)
	return found
}

// formsOf are a text as it is, and as it stands in base64 at any offset, and in hex.
func formsOf(secret string) [][]byte {
	forms := [][]byte{[]byte(secret), []byte(hex.EncodeToString([]byte(secret)))}
	for skip := range 3 {
		inner := []byte(secret)[skip:]
		inner = inner[:len(inner)/3*3]
		forms = append(forms, []byte(base64.RawStdEncoding.EncodeToString(inner)))
	}
	return forms
}

func (v *vault) keepsQuiet() {
	v.t.Helper()
	if found := v.tells(sopstest.Marker); len(found) > 0 {
		v.t.Errorf("the secret was told:\n%s", strings.Join(found, "\n"))
	}
}

// The whole life of a Secret that came encrypted: applied, changed by somebody, put back, changed by a release, pruned, brought back,
// also by an agent that was started again. It is decrypted on the member and told nowhere.
func TestTheLifeOfASecret(t *testing.T) {
	v := newVault(t)
	to := v.recipient()
	v.assign(v.releaseOf("shop/db", "v1", v.encrypted("app.yaml", to, "other.yaml")))
	v.reaches("shop/db", "v1", wire.PackageStatus_APPLIED)
	v.has("app", sopstest.Marker)
	v.keepsQuiet()

	secrets := v.client.CoreV1().Secrets(v.namespace)
	patch := []byte(`{"data":{"password":"` + base64.StdEncoding.EncodeToString([]byte("theirs")) + `"}}`)
	if _, err := secrets.Patch(t.Context(), "app", types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
		t.Fatal(err)
	}
	v.has("app", sopstest.Marker)
	if err := secrets.Delete(t.Context(), "app", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	v.has("app", sopstest.Marker)
	v.eventually("the drift is told", func() error {
		if st := v.status("shop/db"); len(st.GetDrifts()) < 2 {
			return fmt.Errorf("it is %v", st)
		}
		return nil
	})
	v.keepsQuiet()

	v.stop()
	writes := v.writes.Load()
	v.open()
	v.reaches("shop/db", "v1", wire.PackageStatus_APPLIED)
	v.eventually("its kinds are watched", func() error {
		if v.engine.watches.of(namespaced["Secret"]) == nil {
			return fmt.Errorf("they are not")
		}
		return nil
	})
	if now := v.writes.Load(); now != writes {
		t.Errorf("%d writes after a start that had nothing to do", now-writes)
	}
	v.keepsQuiet()

	v.assign(v.releaseOf("shop/db", "v2", v.encrypted("app-2.yaml", to, "other.yaml")))
	v.reaches("shop/db", "v2", wire.PackageStatus_APPLIED)
	v.has("app", sopstest.Marker2)

	v.assign(v.release("shop/db", "v3", v.configMap("other", nil)))
	v.reaches("shop/db", "v3", wire.PackageStatus_APPLIED)
	deletion := v.lost("shop/db", 1)
	v.keepsQuiet()

	v.stop()
	v.open()
	if undo := v.undoes(deletion.GetId()); undo.GetBack() != 1 {
		t.Fatalf("undo: %v", undo)
	}
	v.has("app", sopstest.Marker2)
	v.keepsQuiet()
	v.unassign("shop/db")
	v.holdsNothing()
	v.keepsQuiet()
}

// The test above would find what is not hidden: a Secret that did not come encrypted.
func TestWhatIsNotEncryptedIsFound(t *testing.T) {
	v := newVault(t)
	v.assign(v.release("shop/db", "v1", fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"plain","namespace":%q},"stringData":{"a":%q}}`, v.namespace, sopstest.Marker)))
	v.reaches("shop/db", "v1", wire.PackageStatus_APPLIED)
	if found := v.tells(sopstest.Marker); len(found) == 0 {
		t.Error("the search finds nothing at all")
	}
}

// What is encrypted for somebody else fails by itself and says for whom it is; the rest of the package is applied, what runs
// stays, and nothing is pruned. The key may come later.
func TestEncryptedForSomebodyElse(t *testing.T) {
	v := newVault(t)
	to := v.recipient()
	v.assign(v.releaseOf("shop/db", "v1", v.encrypted("app.yaml", to, "leaves.yaml")))
	v.reaches("shop/db", "v1", wire.PackageStatus_APPLIED)

	theirs := sopstest.Identity(t)
	v.assign(v.releaseOf("shop/db", "v2", v.encrypted("app-2.yaml", theirs.Recipient().String(), "comes.yaml")))
	st := v.reaches("shop/db", "v2", wire.PackageStatus_FAILED)
	if len(st.GetFailures()) != 1 {
		t.Fatalf("failures: %v", st.GetFailures())
	}
	for _, want := range []string{theirs.Recipient().String(), to, "sops updatekeys"} {
		if why := st.GetFailures()[0].GetMessage(); !strings.Contains(why, want) {
			t.Errorf("%q is not in %q", want, why)
		}
	}
	v.hasData("comes", nil)
	v.hasData("leaves", nil)
	v.has("app", sopstest.Marker)
	v.keepsQuiet()

	bring := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "brought"}, StringData: map[string]string{"team.agekey": theirs.String() + "\n"}}
	if _, err := v.client.CoreV1().Secrets(v1alpha1.AgentNamespace).Create(t.Context(), bring, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	v.reaches("shop/db", "v2", wire.PackageStatus_APPLIED)
	v.has("app", sopstest.Marker2)
	v.lacks("leaves")
	if got := v.keys.Recipients(); !slices.Equal(got, []string{to, theirs.Recipient().String()}) {
		t.Errorf("recipients: %v", got)
	}
	v.keepsQuiet()
}

// What the API server says against an object may quote what is in it.
func TestTheAPIServerIsNotQuoted(t *testing.T) {
	v := newVault(t)
	to := v.recipient()
	refuses := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		status := apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Secret").GroupKind(), "app", nil).Status()
		status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		status.Message = "Secret is invalid: data: Invalid value: " + sopstest.Marker
		status.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeFieldValueInvalid, Field: "data.password", Message: "Invalid value: " + sopstest.Marker}}
		raw, err := json.Marshal(status)
		if err != nil {
			return nil, err
		}
		response, err := next.RoundTrip(r.Clone(r.Context()))
		if err != nil {
			return nil, err
		}
		_ = response.Body.Close()
		response.StatusCode, response.Status, response.Header = 422, "422", http.Header{"Content-Type": {"application/json"}}
		response.Body, response.ContentLength = readCloser(raw), int64(len(raw))
		return response, nil
	}
	defer v.meddling(http.MethodPatch, "app", refuses)()
	v.assign(v.releaseOf("shop/db", "v1", v.encrypted("app.yaml", to)))
	st := v.reaches("shop/db", "v1", wire.PackageStatus_FAILED)
	if why := st.GetFailures()[0].GetMessage(); !strings.Contains(why, "data.password (FieldValueInvalid)") {
		t.Errorf("the failure is %q", why)
	}
	v.keepsQuiet()
}

type body struct{ *bytes.Reader }

// Close implements io.Closer.
func (body) Close() error { return nil }

func readCloser(raw []byte) body { return body{bytes.NewReader(raw)} }
