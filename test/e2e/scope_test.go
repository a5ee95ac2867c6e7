//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// grace is a person without any right, whose team gets a Scope.
type grace struct {
	*story
	dir string // her kubeconfigs: of the hub, of the clusters that she sees, and of every cluster
}

const graceOnHub = "system:serviceaccount:default:grace"

// team is a Scope from its beginning to its end, as the person sees it whom it is for.
func team(s *story) {
	g := &grace{story: s, dir: s.TempDir()}
	g.isKnown()
	s.umbel("label", "cluster", "prod-eu", "team=shop")
	s.umbel("label", "cluster", "prod-us", "team=shop")
	s.refused(g.as("get", "clusters"), "cannot list resource")
	s.umbel("scope", "create", "shop", "--user", graceOnHub, "--role", "edit", "--clusters", "team=shop", "--namespaces", "shop,later")

	s.with("a namespace that is missing is named, and awaited", func(s *story) {
		s.eventually("describe names it", func(context.Context) error {
			return says(s.umbel("describe", "scope", "shop"), "Failing", `namespaces "later" not found`)
		})
		for _, cluster := range []string{"prod-eu", "prod-us"} {
			s.umbel("kubectl", cluster, "--", "create", "namespace", "later")
		}
		s.eventually("the scope is ready", func(context.Context) error {
			return says(s.umbel("get", "scope", "shop", "--no-headers"), "True", "edit", "2/2")
		})
	})
	s.with("she reaches these clusters and namespaces", func(s *story) { g.with(s).reaches("prod-eu", "prod-us") })
	s.with("and not one more", func(s *story) {
		g.with(s).isRefused("prod-eu", "fleet", `User "hub:`+graceOnHub+`" cannot list resource "configmaps"`)
		g.with(s).isRefused("dev", "shop", `may not reach cluster "dev"`)
	})
	s.with("a deleted binding comes back", func(s *story) {
		s.umbel("kubectl", "prod-eu", "--", "-n", "shop", "delete", "rolebinding", "umbel:scope:shop:edit")
		g.with(s).holdsBinding("prod-eu", true)
		g.with(s).reaches("prod-eu", "prod-us")
	})
	s.with("what she was given on the hub is put back", func(s *story) {
		s.onHub("delete clusterrole umbel:scope:shop")
		g.with(s).reaches("prod-eu", "prod-us")
	})
	s.with("a cluster that is relabelled is out of reach", func(s *story) {
		s.umbel("label", "cluster", "prod-us", "team-")
		g.with(s).holdsBinding("prod-us", false)
		g.with(s).isRefused("prod-us", "shop", `may not reach cluster "prod-us"`)
		g.with(s).reaches("prod-eu")
		s.umbel("label", "cluster", "prod-us", "team=shop")
		g.with(s).reaches("prod-eu", "prod-us")
	})
	s.with("its end waits for a cluster that is away, as long as somebody wants", func(s *story) {
		s.umbel("suspend", "prod-us")
		s.refused([]string{"scope", "delete", "shop", "--timeout", "20s"}, "not connected: prod-us", "--force")
		g.with(s).isRefused("prod-eu", "shop", `may not reach cluster "prod-eu"`) // the hub does not wait
		g.with(s).holdsBinding("prod-eu", false)
		s.umbel("scope", "delete", "shop", "--force")
		s.refused([]string{"describe", "scope", "shop"}, `there is no scope "shop"`)
		g.with(s).holdsBinding("prod-us", true)
		s.umbel("resume", "prod-us")
		g.with(s).holdsBinding("prod-us", false)
		s.refused(g.as("get", "clusters"), "cannot list resource")
	})
	s.umbel("label", "cluster", "prod-eu", "team-")
	s.umbel("label", "cluster", "prod-us", "team-")
}

// with is grace in a part of the story.
func (g *grace) with(s *story) *grace { return &grace{story: s, dir: g.dir} }

// isKnown makes Grace: a ServiceAccount of the hub, and nothing else.
func (g *grace) isKnown() {
	g.Helper()
	g.onHub("-n default create serviceaccount grace")
	token := g.shell(`umbel-kube kubectl --kubeconfig "$UMBEL_HOME/hub/admin.kubeconfig" -n default create token grace`)
	every := filepath.Join(g.dir, "every")
	g.umbel("kubeconfig", "--output", every)
	// Whoever knows the way to a cluster can ask for it, whether or not umbel would show it.
	for from, to := range map[string]string{filepath.Join(g.Home, "hub", "admin.kubeconfig"): "hub", every: "every"} {
		config, err := clientcmd.LoadFromFile(from)
		if err == nil {
			for name := range config.AuthInfos {
				config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: strings.TrimSpace(token)}
			}
			err = clientcmd.WriteToFile(*config, filepath.Join(g.dir, to))
		}
		if err != nil {
			g.Fatal(err)
		}
	}
}

// as is a command of hers.
func (g *grace) as(args ...string) []string {
	return append([]string{"--kubeconfig", filepath.Join(g.dir, "hub")}, args...)
}

// reaches waits until she sees these clusters alone, has a context for each of them alone, and reads and writes in the
// namespace shop of each.
func (g *grace) reaches(clusters ...string) {
	g.Helper()
	fleet := filepath.Join(g.dir, "fleet")
	g.eventually(fmt.Sprintf("she reaches %v", clusters), func(ctx context.Context) error {
		var want, contexts []string
		for _, cluster := range clusters {
			want = append(want, "membercluster.umbel.dev/"+cluster)
			contexts = append(contexts, cluster)
		}
		out, err := g.Umbel(ctx, g.as("get", "clusters", "-o", "name")...)
		if err != nil || strings.Join(strings.Fields(out), " ") != strings.Join(want, " ") {
			return fmt.Errorf("she sees %q: %w", out, err)
		}
		if _, err := g.Umbel(ctx, g.as("kubeconfig", "--output", fleet, "--prune")...); err != nil {
			return err
		}
		out, err = g.Shell(ctx, fmt.Sprintf(`umbel-kube kubectl --kubeconfig '%s' config get-contexts -o name`, fleet))
		if err != nil || strings.Join(strings.Fields(out), " ") != strings.Join(contexts, " ") {
			return fmt.Errorf("her contexts are %q: %w", out, err)
		}
		for _, cluster := range clusters {
			_, err := g.Shell(ctx, fmt.Sprintf(`K='umbel-kube kubectl --kubeconfig %s --context %s -n shop'; $K get configmaps && $K create configmap hers && $K delete configmap hers`, fleet, cluster))
			if err != nil {
				return err
			}
		}
		out, err = g.Umbel(ctx, g.as("get", "configmaps", "-n", "shop", "--all-clusters")...)
		if err != nil {
			return err
		}
		return says(out, clusters...)
	})
}

// isRefused waits until she may not list ConfigMaps, for the reason given. The hub remembers for ten seconds what it
// allowed.
func (g *grace) isRefused(cluster, namespace, why string) {
	g.Helper()
	g.eventually(fmt.Sprintf("she is refused on %s", cluster), func(ctx context.Context) error {
		out, err := g.Shell(ctx, fmt.Sprintf(`umbel-kube kubectl --kubeconfig '%s/every' --context %s get --raw /api/v1/namespaces/%s/configmaps`, g.dir, cluster, namespace))
		if err == nil {
			return fmt.Errorf("she reads:\n%s", out)
		}
		return says(err.Error(), why)
	})
}

// holdsBinding waits until a cluster has the binding of the scope, or has not.
func (g *grace) holdsBinding(cluster string, want bool) {
	g.Helper()
	bindings := g.clients(cluster).RbacV1().RoleBindings("shop")
	g.eventually(fmt.Sprintf("%s has the binding: %t", cluster, want), func(ctx context.Context) error {
		_, err := bindings.Get(ctx, "umbel:scope:shop:edit", metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if (err == nil) != want {
			return fmt.Errorf("it has it: %t", err == nil)
		}
		return nil
	})
}

// says complains of words that a text has not.
func says(text string, words ...string) error {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return fmt.Errorf("it does not say %q:\n%s", word, text)
		}
	}
	return nil
}
