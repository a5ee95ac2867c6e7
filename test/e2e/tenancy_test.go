//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	hubKubectl = `umbel-kube kubectl --kubeconfig "$UMBEL_HOME/hub/admin.kubeconfig" `
	asTess     = hubKubectl + "--as=tess --as-group=team-shop --as-group=system:authenticated -n shop "
)

// teamsPackage is what a team writes: something of its own, and what it has no right to.
const teamsPackage = `apiVersion: umbel.dev/v1alpha1
kind: Placement
metadata: {name: all, namespace: shop}
spec: {clusterSelector: {}}
---
apiVersion: umbel.dev/v1alpha1
kind: Package
metadata: {name: banner, namespace: shop}
spec:
  placementRef: {name: all}
  source:
    inline:
      objects:
        - {apiVersion: v1, kind: ConfigMap, metadata: {name: banner, namespace: shop}, data: {by: team}}
        - {apiVersion: v1, kind: Secret, metadata: {name: escape, namespace: kube-system}}
        - {apiVersion: v1, kind: Namespace, metadata: {name: escape}}
        - apiVersion: rbac.authorization.k8s.io/v1
          kind: ClusterRoleBinding
          metadata: {name: escape}
          roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
          subjects: [{kind: ServiceAccount, name: deployer, namespace: shop}]
`

const platformsPackage = `apiVersion: umbel.dev/v1alpha1
kind: Package
metadata: {name: banners, namespace: default}
spec:
  placementRef: {name: everywhere}
  source:
    inline:
      objects:
        - {apiVersion: v1, kind: ConfigMap, metadata: {name: banner, namespace: shop}, data: {by: platform}}
`

// tenants is the page docs/operate/teams.md, and what a team does with what it is given.
func tenants(s *story) {
	s.teamsPage()
	s.shell(asTess + "apply -f - <<'EOF'\n" + teamsPackage + "EOF")
	s.holds("prod-eu", "shop", "banner", "by", "team")
	s.with("what its roles forbid is refused and named", func(s *story) {
		s.eventually("describe says so", func(context.Context) error {
			return says(s.umbel("describe", "package", "banner", "-n", "shop"), "ServiceAccount shop/deployer of the clusters",
				"Secret kube-system/escape", "Namespace escape", "ClusterRoleBinding.rbac.authorization.k8s.io escape", "acts as ServiceAccount shop/deployer")
		})
		if err := says(s.umbel("explain", "package", "banner", "-n", "shop", "--cluster", "prod-eu"), "acts as", "ServiceAccount shop/deployer"); err != nil {
			s.Error(err)
		}
		for _, cluster := range everyCluster {
			s.escaped(cluster)
		}
		// The Scope is about env=prod; a Placement that reaches further reaches nothing.
		if _, err := s.clients("dev").CoreV1().ConfigMaps("shop").Get(s.ctx, "banner", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			s.Errorf("where nobody gave it a role: %v", err)
		}
	})
	s.with("nor can it become somebody else", func(s *story) {
		for _, change := range []string{"annotate namespace shop umbel.dev/acts-as-", "annotate namespace shop --overwrite umbel.dev/acts-as=kube-system/default",
			"-n default create -f - <<'EOF'\n" + platformsPackage + "EOF"} {
			if out, err := s.Shell(s.ctx, strings.Replace(asTess, "-n shop ", "", 1)+change); err == nil || !strings.Contains(err.Error(), "orbidden") {
				s.Errorf("%s: %s %v", change, out, err)
			}
		}
	})
	remove := func(s *story) {
		if err := s.clients("prod-eu").CoreV1().ConfigMaps("shop").Delete(s.ctx, "banner", metav1.DeleteOptions{}); err != nil {
			s.Fatal(err)
		}
	}
	s.with("without the hub as with it", func(s *story) {
		s.kill("umbel hub", s.Home)
		remove(s)
		s.holds("prod-eu", "shop", "banner", "by", "team")
		s.escaped("prod-eu")
		s.umbel("up")
		s.umbel("kubectl", "prod-eu", "--", "get", "--raw", "/readyz")
	})
	s.with("its Scope goes, and comes back", func(s *story) {
		s.umbel("scope", "delete", "shop-packages")
		remove(s)
		s.eventually("that it cannot be put back is told", func(context.Context) error {
			return says(s.umbel("describe", "package", "banner", "-n", "shop"), "ConfigMap shop/banner", "forbidden")
		})
		s.umbel(strings.Fields("scope create shop-packages --service-account shop/deployer --role edit --clusters env=prod --namespaces shop")...)
		s.holds("prod-eu", "shop", "banner", "by", "team")
	})
	s.with("the platform goes before it", func(s *story) {
		s.shell(hubKubectl + "apply -f - <<'EOF'\n" + platformsPackage + "EOF")
		s.holds("prod-eu", "shop", "banner", "by", "platform")
		s.describes("banners", "Wanted by others", "shop/banner", "WantedByOthers")
		s.eventually("the team is told", func(context.Context) error {
			return says(s.umbel("describe", "package", "banner", "-n", "shop"), "default/banners", "the platform's and goes before a team's")
		})
		s.deletePackage("banners")
		s.holds("prod-eu", "shop", "banner", "by", "team")
	})
	s.shell(asTess + "delete package banner --timeout=180s")
	s.eventually("the team's package is pruned", func(ctx context.Context) error {
		_, err := s.clients("prod-eu").CoreV1().ConfigMaps("shop").Get(ctx, "banner", metav1.GetOptions{})
		if err == nil {
			err = errors.New("it is there")
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
	s.umbel("scope", "delete", "shop-packages")
	s.shell(asTess + "delete placement all")
}

// escaped looks for what a team has no right to.
func (s *story) escaped(cluster string) {
	s.Helper()
	client := s.clients(cluster)
	_, secret := client.CoreV1().Secrets("kube-system").Get(s.ctx, "escape", metav1.GetOptions{})
	_, namespace := client.CoreV1().Namespaces().Get(s.ctx, "escape", metav1.GetOptions{})
	_, binding := client.RbacV1().ClusterRoleBindings().Get(s.ctx, "escape", metav1.GetOptions{})
	for what, err := range map[string]error{"a Secret": secret, "a Namespace": namespace, "a ClusterRoleBinding": binding} {
		if !apierrors.IsNotFound(err) {
			s.Errorf("%s of a team's escaped to %s: %v", what, cluster, err)
		}
	}
}

// teamsPage runs every command of docs/operate/teams.md.
func (s *story) teamsPage() {
	s.Helper()
	text, err := os.ReadFile("../../docs/operate/teams.md")
	if err != nil {
		s.Fatal(err)
	}
	ran := 0
	for i, block := range strings.Split(string(text), "```") {
		if i%2 == 0 {
			continue
		}
		for line := range strings.Lines(block) {
			command, is := strings.CutPrefix(strings.TrimSpace(line), "kubectl ")
			switch {
			case is:
				s.shell(hubKubectl + command)
			case strings.HasPrefix(line, "umbel "):
				s.shell(line)
			default:
				continue
			}
			ran++
		}
	}
	if ran != 8 {
		s.Fatalf("docs/operate/teams.md has %d commands, want 8", ran)
	}
	s.eventually("the Scope is ready", func(context.Context) error {
		return says(s.umbel("get", "scope", "shop-packages", "--no-headers"), "True", fmt.Sprintf("%d/%d", 2, 2))
	})
}
