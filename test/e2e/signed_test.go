//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// signed delivers what somebody signed who may, and nothing else; and a Release that somebody makes in the hub's API, of content
// that is in the registry, reaches no cluster.
func signed(s *story) {
	note := func(text string) map[string]string {
		return map[string]string{"signed/note.yaml": fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: note, namespace: default}\ndata: {text: %s}\n", text)}
	}
	sign := func(yes string) { s.shell(`git -C "$UMBEL_HOME/fleet" config commit.gpgsign ` + yes) }
	s.shell(`ssh-keygen -q -t ed25519 -N '' -C ada@example.org -f "$UMBEL_HOME/ada" && cd "$UMBEL_HOME/fleet" &&
		git config gpg.format ssh && git config user.signingkey "$UMBEL_HOME/ada" &&
		echo "ada@example.org $(cut -d' ' -f1,2 "$UMBEL_HOME/ada.pub")" > "$UMBEL_HOME/allowed_signers"`)
	s.onHub(`create configmap signers --from-file=allowed_signers="$UMBEL_HOME/allowed_signers"`)
	sign("true")
	s.commit("A signed note", note("one"))
	verify := "path: signed\n      verify: {keysFrom: [{kind: ConfigMap, name: signers}]}"
	if err := s.manifest(s.packageYAML("signed", verify, "everywhere")); err != nil {
		s.Fatal(err)
	}
	s.holds("prod-eu", "default", "note", "text", "one")
	s.packageSays("signed", v1alpha1.ConditionVerified, metav1.ConditionTrue, "is signed by ada@example.org (ssh SHA256:")
	first := s.pkg("signed").Status.Release

	sign("false")
	s.commit("An unsigned note", note("unsigned"))
	s.packageSays("signed", v1alpha1.ConditionVerified, metav1.ConditionFalse, "it is not signed", "stays")
	if out := s.umbel("explain", "package", "signed", "--cluster", "prod-eu"); !strings.Contains(out, "it is not signed") {
		s.Errorf("explain does not say why:\n%s", out)
	}
	s.holds("prod-eu", "default", "note", "text", "one")
	sign("true")
	s.commit("Another signed note", note("two"))
	s.holds("prod-eu", "default", "note", "text", "two")

	// The content of the first release, under another name, and the package at it.
	s.shell(`hub="umbel-kube kubectl --kubeconfig $UMBEL_HOME/hub/admin.kubeconfig"
		$hub get release ` + first + ` -o json | sed 's/"name": "` + first + `"/"name": "signed-evil"/' | grep -v '"resourceVersion"\|"creationTimestamp"' |
			sed 's/"revision": "[^"]*"/"revision": "0000000000000000000000000000000000000000"/' | $hub create -f -
		$hub patch package signed --subresource status --type merge -p '{"status":{"release":"signed-evil"}}'`)
	s.umbel("refresh", "package", "signed")
	s.eventually("the package is at a release of the hub's own", func(context.Context) error {
		if held := s.pkg("signed").Status.Release; held == "signed-evil" {
			return fmt.Errorf("it is at %s", held)
		}
		return nil
	})
	s.packageSays("signed", v1alpha1.ConditionReady, metav1.ConditionTrue)
	s.holds("prod-eu", "default", "note", "text", "two")
	sign("false")
	s.deletePackage("signed")
	s.onHub("delete configmap signers")
	s.commit("No note", map[string]string{"signed": ""})
	s.shell(`rm "$UMBEL_HOME/ada" "$UMBEL_HOME/ada.pub" "$UMBEL_HOME/allowed_signers"`)
}
