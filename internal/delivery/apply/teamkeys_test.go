package apply

import (
	"strings"
	"testing"
	"testing/fstest"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/delivery/sops/sopstest"
)

// generated renders an encrypted file as a value of a Secret.
func (v *vault) generated(file, recipient string) []bundle.Entry {
	v.t.Helper()
	rendered, err := render.Objects(fstest.MapFS{
		"kustomization.yaml": {Data: []byte("namespace: " + v.namespace + "\ngeneratorOptions: {disableNameSuffixHash: true}\nsecretGenerator: [{name: app, files: [a=" + file + "]}]\n")},
		file:                 {Data: sopstest.For(v.t, file, recipient)},
	}, ".")
	if err != nil {
		v.t.Fatal(err)
	}
	entries, err := rendered.For(nil)
	if err != nil {
		v.t.Fatal(err)
	}
	return entries
}

// A team that commits a copy of what is encrypted for the cluster gets nothing of it, as whatever it dresses it up; what is encrypted
// for a key in the team's own namespace is opened.
func TestATeamOpensWhatIsItsOwn(t *testing.T) {
	v := newVault(t)
	to := v.recipient()
	account := v.team("deployer")
	secrets := v.client.CoreV1().Secrets(v.namespace)
	for name, entries := range map[string][]bundle.Entry{
		"as it is": v.encrypted("app.yaml", to), "as a file": v.generated("file.txt", to), "as variables": v.generated("file.env", to),
	} {
		release := "v-" + strings.ReplaceAll(name, " ", "-")
		v.assign(acting(v.releaseOf("team/app", release, entries), account))
		st := v.reaches("team/app", release, wire.PackageStatus_FAILED)
		if why := st.GetFailures()[0].GetMessage(); !strings.Contains(why, "a package of namespace "+v.namespace+" opens what is encrypted for a key in one of its Secrets") {
			t.Errorf("%s: it fails by %q", name, why)
		}
		if _, err := secrets.Get(t.Context(), "app", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s: the team has the Secret (%v)", name, err)
		}
	}
	theirs := sopstest.Identity(t)
	key := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "keys"}, StringData: map[string]string{"team.agekey": theirs.String()}}
	if _, err := secrets.Create(t.Context(), key, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	v.assign(acting(v.releaseOf("team/app", "own", v.encrypted("app.yaml", theirs.Recipient().String())), account))
	v.reaches("team/app", "own", wire.PackageStatus_APPLIED)
	v.has("app", sopstest.Marker)
	v.keepsQuiet()
}

// An object that nobody can take apart fails by itself, whoever wrote it.
func TestAForgedSealHarmsNobodyElse(t *testing.T) {
	v := newVault(t)
	const forged = `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"NAME","namespace":"IN"KEEP},"sops":[1]}`
	kept := strings.NewReplacer("NAME", "kept", "IN", v.namespace, "KEEP", `,"annotations":{"umbel.dev/sops":"Keep"}`).Replace(forged)
	other := strings.NewReplacer("NAME", "other", "IN", v.namespace, "KEEP", "").Replace(forged)
	v.assign(v.release("shop/db", "v1", kept, other, v.configMap("beside", map[string]string{"a": "b"})))
	st := v.reaches("shop/db", "v1", wire.PackageStatus_FAILED)
	if len(st.GetFailures()) != 2 {
		t.Errorf("failures: %v", st.GetFailures())
	}
	v.hasData("beside", map[string]string{"a": "b"})
}

// A crash between the write of an object that comes encrypted now and the note of it leaves an inventory that does not know: what
// stands on the object tells the journal to hide it.
func TestWhatTheInventoryForgotIsStillHidden(t *testing.T) {
	v := newVault(t)
	v.assign(v.releaseOf("shop/db", "v1", v.encrypted("app.yaml", v.recipient(), "other.yaml")))
	v.reaches("shop/db", "v1", wire.PackageStatus_APPLIED)
	u := v.engine.roster.get("shop/db")
	u.mu.Lock()
	for key, it := range u.inventory {
		it.Sealed = false
		u.inventory[key] = it
		r := u.engine.index.get(key)
		r.mu.Lock()
		r.sealed = false
		r.mu.Unlock()
	}
	u.mu.Unlock()
	v.assign(v.release("shop/db", "v2", v.configMap("other", nil)))
	v.reaches("shop/db", "v2", wire.PackageStatus_APPLIED)
	v.lost("shop/db", 1)
	v.keepsQuiet()
}
