package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/test/rig"
)

// distrust trusts Packages with nothing: each commit is signed by somebody who may, each release waits until a plan of it is saved, and the agent acts as a
// team's account. The account may do what it likes in the cluster, since the Packages have prevention on, which a team has no right to otherwise.
func (s *site) distrust(ctx context.Context) error {
	_, err := s.fleet.Shell(ctx, `set -e
rm -f "$UMBEL_HOME/ada" "$UMBEL_HOME/ada.pub"
ssh-keygen -q -t ed25519 -N '' -C ada@example.org -f "$UMBEL_HOME/ada"
git -C "$UMBEL_HOME/fleet" config gpg.format ssh
git -C "$UMBEL_HOME/fleet" config user.signingkey "$UMBEL_HOME/ada"
git -C "$UMBEL_HOME/fleet" config commit.gpgsign true
echo "ada@example.org $(cut -d' ' -f1,2 "$UMBEL_HOME/ada.pub")" > "$UMBEL_HOME/allowed_signers"
hub="umbel-kube kubectl --kubeconfig $UMBEL_HOME/hub/admin.kubeconfig"
$hub create configmap signers --from-file=allowed_signers="$UMBEL_HOME/allowed_signers"
umbel-kube kubectl --kubeconfig "$UMBEL_HOME/local/bench/kubeconfig" create clusterrolebinding deployer --clusterrole=cluster-admin --serviceaccount=default:deployer
$hub annotate namespace default umbel.dev/acts-as=default/deployer`)
	return err
}

// What a strict Package says in addition: of its source, and of itself.
const (
	signedSource = ", verify: {keysFrom: [{kind: ConfigMap, name: signers}]}"
	planned      = "plan: Required"
)

// plan saves a plan of the release that each Package makes of the newest commit, as whoever reviews it does.
func (s *site) plan(ctx context.Context) error {
	if !s.strict {
		return nil
	}
	revision, err := s.revision(ctx)
	if err != nil {
		return err
	}
	hub, err := s.fleet.Hub()
	if err != nil {
		return err
	}
	for _, name := range s.packages() {
		release := ""
		err := rig.Eventually(ctx, 5*time.Minute, func(ctx context.Context) error {
			var releases v1alpha1.ReleaseList
			if err := hub.List(ctx, &releases, kube.InNamespace("default")); err != nil {
				return err
			}
			for _, r := range releases.Items {
				if r.Spec.PackageRef.Name == name && strings.HasSuffix(r.Spec.Revision, revision) {
					release = r.Name
					return nil
				}
			}
			return fmt.Errorf("package %s has no Release of %s", name, revision)
		})
		if err != nil {
			return err
		}
		if _, err := s.fleet.Umbel(ctx, "plan", name, "-n", "default", "--release", release, "--save", "--timeout", "10m"); err != nil {
			return err
		}
	}
	return nil
}
