package delivery_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/content/registrytest"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// keys writes a ConfigMap with keys, be it there or not.
func (h *hub) keys(name string, entries map[string]string) {
	h.t.Helper()
	c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: name}, Data: entries}
	if h.Create(h.t.Context(), c) != nil {
		h.must(h.Update(h.t.Context(), c))
	}
}

func signedGit(url string, mode v1alpha1.GitVerificationMode) *v1alpha1.GitSource {
	return &v1alpha1.GitSource{URL: url, Verify: &v1alpha1.GitVerification{
		Mode: mode, Verification: v1alpha1.Verification{KeysFrom: []v1alpha1.KeysReference{{Kind: "ConfigMap", Name: "signers"}}},
	}}
}

// marked says whether the Release that a Package is at is marked as verified, and by whom.
func (h *hub) marked(name string) string {
	h.t.Helper()
	current := h.released(name)
	for _, release := range h.releases() {
		if release.Name == current {
			if verified := release.Verified(); verified != nil && verified.Under != "" {
				return verified.Revision + " by " + verified.By
			}
		}
	}
	return ""
}

// TestOnlySignedCommitsAreDelivered: a commit that nobody who may has signed never becomes a Release, and the last good one
// stays; a key that is taken out counts for nothing, also for what it signed; and a branch does not go back.
func TestOnlySignedCommitsAreDelivered(t *testing.T) {
	h := newHub(t)
	eu, us := h.cluster("eu", map[string]string{"region": "eu"}), h.cluster("us", map[string]string{"region": "us"})
	h.place("prod", eu)
	ada, eve := sourcetest.NewSSHKey(t, "ada@example.org"), sourcetest.NewSSHKey(t, "eve@example.org")
	repo := sourcetest.New(t)
	commit := func(by sourcetest.Signer, value string) string {
		repo.SignedBy(by)
		return repo.Commit(map[string]string{"a.yaml": configMap("a", value+" in ${cluster.labels.region}")})
	}
	commit(nil, "unsigned")
	key := h.from("app", "prod", v1alpha1.Source{Git: signedGit(repo.URL(), "")})
	h.waitFor("app", v1alpha1.ConditionVerified, "False KeysInvalid", `there is no ConfigMap "signers" in namespace "`+h.namespace+`"`)
	h.keys("signers", map[string]string{"allowed_signers": ada.Public()})
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionVerified, "False NotVerified", "it is not signed", "add the key to ConfigMap signers")
	h.waitFor("app", v1alpha1.ConditionReady, "False NotVerified")

	first := commit(ada, "one")
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionVerified, "True Verified", "commit "+first[:12]+" is signed by ada@example.org (ssh SHA256:")
	h.waitTold(eu, key, `"one in eu"`)
	if got := h.marked("app"); !strings.HasPrefix(got, first+" by ada@example.org (ssh SHA256:") {
		t.Errorf("the release is marked %q", got)
	}

	// Neither what nobody signed nor what a stranger did is told, to those who have a release or to those who are new.
	for _, tc := range []struct {
		by   sourcetest.Signer
		want string
	}{{nil, "it is not signed"}, {eve, "which is not among the keys"}} {
		bad := commit(tc.by, "bad")
		h.refresh("app")
		h.waitFor("app", v1alpha1.ConditionVerified, "False NotVerified", "commit "+bad[:12], tc.want, "stays")
		h.waitTold(eu, key, `"one in eu"`)
	}
	h.place("prod", eu, us)
	h.waitTold(us, key, `"one in us"`)

	// A signed commit on top of those is taken: who signs it vouches for what is below it.
	second := commit(ada, "two")
	h.refresh("app")
	h.waitTold(eu, key, `"two in eu"`)

	// An older commit is not, though ada signed it; unless somebody names it.
	repo.Git("reset", "--quiet", "--hard", first)
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionVerified, "False WentBack", "commit "+first[:12], "is older than "+second[:12])
	h.waitTold(eu, key, `"two in eu"`)
	h.change("app", func(p *v1alpha1.Package) { p.Spec.Source.Git.Ref = first })
	h.waitTold(eu, key, `"one in eu"`)
	h.waitFor("app", v1alpha1.ConditionVerified, "True Verified")

	// Ada's key is taken out: what she signed is told to nobody any more, and taken from nobody.
	h.keys("signers", map[string]string{"allowed_signers": eve.Public()})
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionVerified, "False NotVerified", "which is not among the keys")
	h.waitFor("app", v1alpha1.ConditionDelivered, "False NotVerified", "clusters keep what they hold")
	for _, cluster := range []v1alpha1.ClusterName{eu, us} {
		if got := h.told(cluster, key); got != "keep" {
			t.Errorf("%s is told %q of what is not verified any more", cluster, got)
		}
	}
	if got := h.marked("app"); got != "" {
		t.Errorf("the release is still marked %q", got)
	}
	// And the hub that begins again does not tell it either.
	h.stop()
	h.start()
	h.waitFor("app", v1alpha1.ConditionDelivered, "False NotVerified")
	h.waitTold(eu, key, "keep")
	h.keys("signers", map[string]string{"allowed_signers": eve.Public() + "\n" + ada.Public()})
	h.refresh("app")
	h.waitTold(us, key, `"one in us"`)
}

// TestVerificationIsSwitchedOnLater: it is also about what clusters hold already.
func TestVerificationIsSwitchedOnLater(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	gpg := sourcetest.NewGPG(t, "Ada <ada@example.org>")
	h.keys("signers", map[string]string{"ada.asc": gpg.Public()})
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "one")})
	key := h.create("app", repo.URL(), ".", "prod")
	h.waitTold(eu, key, `"one"`)
	before := h.released("app")

	h.change("app", func(p *v1alpha1.Package) { p.Spec.Source.Git.Verify = signedGit("", "").Verify })
	h.waitFor("app", v1alpha1.ConditionVerified, "False NotVerified", "it is not signed")
	h.waitFor("app", v1alpha1.ConditionDelivered, "False NotVerified")
	if got := h.told(eu, key); got != "keep" {
		t.Errorf("the cluster is told %q", got)
	}
	// The same files, signed: the release is what a verified commit gives, and is told as it is.
	repo.SignedBy(gpg)
	signed := repo.Change(nil)
	h.refresh("app")
	h.waitTold(eu, key, `"one"`)
	if after, mark := h.pkg("app").Status.Release, h.marked("app"); after != before || !strings.HasPrefix(mark, signed+" by Ada <ada@example.org> (gpg ") {
		t.Errorf("release %s became %s, marked %q", before, after, mark)
	}
	h.change("app", func(p *v1alpha1.Package) { p.Spec.Source.Git.Verify = nil })
	h.waitFor("app", v1alpha1.ConditionVerified, "none")
	h.waitFor("app", v1alpha1.ConditionFetched, "True")
}

// TestSignedTags: the newest version of a range has to be a tag that somebody signed, under its own name.
func TestSignedTags(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	ada := sourcetest.NewSSHKey(t, "ada@example.org")
	h.secret("signers", map[string]string{"allowed_signers": ada.Public()}, nil)
	repo := sourcetest.New(t)
	repo.SignedBy(ada)
	repo.Git("config", "commit.gpgsign", "false")
	repo.Commit(map[string]string{"a.yaml": configMap("a", "one")})
	repo.Git("tag", "-s", "-m", "one", "v1.0.0")
	from := signedGit(repo.URL(), v1alpha1.VerifyTag)
	from.Semver, from.Verify.KeysFrom[0].Kind = ">=1", "Secret"
	key := h.from("app", "prod", v1alpha1.Source{Git: from})
	h.waitTold(eu, key, `"one"`)
	h.waitFor("app", v1alpha1.ConditionVerified, "True Verified", "tag v1.0.0 (", "is signed by ada@example.org")

	repo.Commit(map[string]string{"a.yaml": configMap("a", "two")})
	repo.Git("tag", "v1.1.0")
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionVerified, "False NotVerified", "tag v1.1.0", "no annotated tag")
	// The keys are wrong for a moment: what was verified before, and is not the newest, is verified again.
	h.secret("signers", map[string]string{"allowed_signers": "ada@example.org a typo"}, nil)
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionVerified, "False KeysInvalid", "line 1 of allowed signers", "stays")
	h.waitTold(eu, key, "keep")
	h.secret("signers", map[string]string{"allowed_signers": ada.Public()}, nil)
	h.refresh("app")
	h.waitTold(eu, key, `"one"`)
	// The signed object of v1.0.0 under the name of a newer version.
	repo.Git("update-ref", "refs/tags/v1.2.0", repo.Git("rev-parse", "refs/tags/v1.0.0"))
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionVerified, "False NotVerified", `it was made as the tag "v1.0.0"`)
	// A tag of a commit that the hub has fetched already.
	repo.Git("tag", "-s", "-m", "two", "v1.3.0")
	h.refresh("app")
	h.waitTold(eu, key, `"two"`)

	h.change("app", func(p *v1alpha1.Package) { p.Spec.Source.Git.Verify.Mode = v1alpha1.VerifyTagAndHEAD })
	h.waitFor("app", v1alpha1.ConditionVerified, "False NotVerified", "it is not signed")
	repo.Git("config", "commit.gpgsign", "true")
	repo.Commit(map[string]string{"a.yaml": configMap("a", "three")})
	repo.Git("tag", "-s", "-m", "three", "v1.4.0")
	h.refresh("app")
	h.waitTold(eu, key, `"three"`)
}

// TestSignedArtifacts: an artifact and a chart are delivered when cosign signed them with a known key, in either form, also when
// the signature comes later; and nothing else is.
func TestSignedArtifacts(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	registry := sourcetest.NewRegistry(t, registrytest.Open)
	ada, eve := sourcetest.NewCosign(t, "ecdsa"), sourcetest.NewCosign(t, "ecdsa")
	h.keys("signers", map[string]string{"cosign.pub": ada.Public()})
	h.secret("registry", map[string]string{"ca.crt": string(registry.CA)}, nil)
	push := func(value string) string {
		return registry.Push("fleet/shop", []sourcetest.Layer{{
			MediaType: "application/vnd.cncf.flux.content.v1.tar+gzip", Blob: sourcetest.Tarball(t, "", map[string]string{"a.yaml": configMap("a", value)}),
		}}, "latest")
	}
	verify := &v1alpha1.Verification{KeysFrom: []v1alpha1.KeysReference{{Kind: "ConfigMap", Name: "signers"}}}
	first := push("one")
	key := h.from("app", "prod", v1alpha1.Source{OCI: &v1alpha1.OCISource{
		URL: "oci://" + registry.Host + "/fleet/shop", SecretRef: &v1alpha1.LocalReference{Name: "registry"}, Verify: verify,
	}})
	h.waitFor("app", v1alpha1.ConditionVerified, "False NotVerified", "artifact latest ("+first[:19]+")", "it is not signed")
	registry.Attach("fleet/shop", first, eve.Simple(first))
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionVerified, "False NotVerified", "by none of the keys")
	registry.Attach("fleet/shop", first, ada.Bundle(first))
	h.refresh("app")
	h.waitTold(eu, key, `"one"`)
	h.waitFor("app", v1alpha1.ConditionVerified, "True Verified", "artifact latest ("+first[:19]+") is signed by cosign SHA256:")

	// What ada signed is another artifact.
	second := push("two")
	registry.Attach("fleet/shop", second, ada.Simple(first))
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionVerified, "False NotVerified", "signed another artifact", "stays")
	h.waitTold(eu, key, `"one"`)
	third := push("three")
	registry.Attach("fleet/shop", third, ada.Simple(third))
	h.refresh("app")
	h.waitTold(eu, key, `"three"`)

	chart := registry.PushChart("charts", "web", "1.0.0", map[string]string{"templates/a.yaml": configMap("b", "charted")})
	other := h.from("web", "prod", v1alpha1.Source{Helm: &v1alpha1.HelmSource{
		URL: "oci://" + registry.Host + "/charts", Chart: "web", SecretRef: &v1alpha1.LocalReference{Name: "registry"}, Verify: verify,
	}})
	h.waitFor("web", v1alpha1.ConditionVerified, "False NotVerified", "it is not signed")
	registry.Attach("charts/web", chart, ada.Simple(chart))
	h.refresh("web")
	h.waitTold(eu, other, `"charted"`)
	bad := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "bad"}}
	bad.Spec.PlacementRef.Name = "prod"
	bad.Spec.Source.Helm = &v1alpha1.HelmSource{URL: "https://charts.example.com", Chart: "web", Verify: verify}
	if err := h.Create(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "verify is for charts of an OCI registry") {
		t.Errorf("the API takes a chart over https that is to be signed: %v", err)
	}
}

// TestTheRunbookOfSignatures runs every command of docs/operate/signatures.md, in a repository whose Package is called app.
func TestTheRunbookOfSignatures(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "one")})
	key := h.create("app", repo.URL(), ".", "prod")
	h.waitTold(eu, key, `"one"`)
	page, err := os.ReadFile("../../docs/operate/signatures.md")
	h.must(err)
	kube, err := kubetest.Binary()
	h.must(err)
	bin := t.TempDir()
	kubectl := fmt.Sprintf("#!/bin/sh\nexec %q kubectl --namespace %s \"$@\"\n", kube, h.namespace)
	h.must(os.WriteFile(filepath.Join(bin, "kubectl"), []byte(kubectl), 0o700))
	blocks := strings.Split(string(page), "```")
	if len(blocks) != 2*4+1 {
		t.Fatalf("the page has %d blocks", len(blocks)/2)
	}
	for i := 1; i < len(blocks); i += 2 {
		shell := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", blocks[i])
		shell.Dir = repo.Dir
		shell.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "KUBECONFIG="+kubetest.Kubeconfig(t, h.config),
			"GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org")
		said, err := shell.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", blocks[i], err, said)
		}
		if i < 5 {
			h.refresh("app")
		}
		if i == 3 {
			h.waitFor("app", v1alpha1.ConditionVerified, "True Verified", "is signed by ada@example.org (ssh SHA256:")
			h.waitTold(eu, key, `"one"`)
		}
		if i == 5 && !strings.Contains(string(said), "ada@example.org (ssh SHA256:") {
			t.Errorf("the page shows %s", said)
		}
	}
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionVerified, "True Verified", "commit "+repo.Git("rev-parse", "HEAD")[:12])
	h.waitTold(eu, key, `"one"`)
}
