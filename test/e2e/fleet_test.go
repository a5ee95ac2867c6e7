//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	inventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity/oidctest"
	"umbel.dev/umbel/internal/profile/about"
)

// TestFleet is the main job, for real, and the laws that it rests on, on three clusters with nodes.
func TestFleet(t *testing.T) {
	provider := oidctest.Start(t)
	before := footprint(t)
	s := newStory(t, "--authentication-config", provider.WriteConfiguration())
	s.with("what people see", seen)
	lasting := startLasting(s)
	s.with("kubectl reaches clusters as the one who asks", people)
	s.with("a team gets clusters, and loses them", team)
	s.with("a developer signs in with the company's provider, and installs a chart", company(provider))
	s.with("a deleted role comes back", func(s *story) {
		s.umbel("kubectl", "prod-eu", "--", "delete", "role", "pod-reader", "-n", "shop")
		s.eventually("the role is back", func(ctx context.Context) error {
			_, err := s.Umbel(ctx, "kubectl", "prod-eu", "--", "get", "role", "pod-reader", "-n", "shop")
			return err
		})
		s.eventually("the cluster tells of the repair", func(context.Context) error {
			if out := s.umbel("describe", "cluster", "prod-eu"); !strings.Contains(out, "pod-reader") {
				return fmt.Errorf("it says:\n%s", out)
			}
			return nil
		})
	})
	s.with("one commit governs every cluster", func(s *story) {
		s.shell(`sed -i 's/Welcome/Hello/' "$UMBEL_HOME/fleet/shop/storefront.yaml" && git -C "$UMBEL_HOME/fleet" commit -qam 'Say hello'`)
		for _, cluster := range everyCluster {
			s.holds(cluster, "shop", "storefront", "greeting", "Hello")
			s.holds(cluster, "fleet", "cluster", "name", cluster)
		}
	})
	s.with("the first delivery of a newcomer", firstDelivery)
	s.with("labels say what a cluster gets", labels)
	s.with("a cluster is drained and filled again", drained)
	s.with("clusters are measured, each by its profile", profiled)
	s.with("why is it here and not there", explained)
	s.with("up again is harmless", func(s *story) {
		uids := s.uids("prod-eu")
		s.umbel("up")
		if diff := cmp.Diff(uids, s.uids("prod-eu")); diff != "" {
			s.Errorf("running up again changed objects:\n%s", diff)
		}
	})
	s.with("what lasts goes on", lasting.goesOn)
	s.with("the hub may vanish", hubVanishes)
	s.with("a cut link blocks nobody", linkIsCut)
	s.with("nothing is pruned after a partial apply", partialApply)
	s.with("a broken source deletes nothing", brokenSource)
	s.with("what is signed is delivered, and nothing else", signed)
	s.with("killing the agent in the middle of an apply loses nothing", agentIsKilled)
	s.with("deletes are asked for and undone", deletes)
	s.with("secrets come encrypted, and are told nowhere", secretsPage)
	s.with("a package changes what somebody has seen, and nothing else", plans)
	s.with("a package waits for another one in a region, with each release", inOrder)
	s.with("what others change is told, left or refused, and an ill pod says why", drift)
	s.with("an object has one package", oneOwner)
	s.with("a team delivers with its own rights, and no more", tenants)
	s.with("the hub has no credential and no object of a member", nothingOfMembers)
	s.with("a stolen key harms its own member alone", stolenKey)
	s.with("a key is revoked", keyIsRevoked)
	s.with("the authority is rotated, and the hub killed in the middle", rotation)
	s.with("bad input", badInput)
	s.with("every line that up prints works", pastedLines)
	s.with("a cluster leaves", leaves)
	s.with("down leaves nothing", func(s *story) {
		own, _, _ := strings.Cut(s.locals()[0].Namespace, "-")
		s.umbel("down")
		if diff := cmp.Diff(before.of(own), footprint(s.T).of(own)); diff != "" {
			s.Errorf("down left something behind:\n%s", diff)
		}
		if entries, err := os.ReadDir(s.Home); err == nil && len(entries) > 0 {
			s.Errorf("down left files in the data folder: %v", entries)
		}
	})
}

func seen(s *story) {
	for _, args := range [][]string{{"get", "clusters"}, {"get", "packages"}, {"describe", "package", "shop"}, {"describe", "cluster", "dev"}} {
		for _, format := range []string{"", "wide", "json", "yaml"} {
			line := args
			if format != "" {
				line = append(append([]string{}, args...), "-o", format)
			}
			out := s.umbel(line...)
			if !strings.Contains(out, args[len(args)-1]) && args[0] == "describe" {
				s.Errorf("umbel %s does not speak of it:\n%s", strings.Join(line, " "), out)
			}
			var any map[string]any
			if format == "json" && json.Unmarshal([]byte(out), &any) != nil {
				s.Errorf("umbel %s is not JSON:\n%s", strings.Join(line, " "), out)
			}
		}
	}
	for _, cluster := range everyCluster {
		s.memberSays(cluster, v1alpha1.ConditionReady, metav1.ConditionTrue) // its API server may have been late with its last answer
		mc := s.member(cluster)
		if !strings.HasPrefix(mc.Status.KubernetesVersion, "v1.") || mc.Status.AgentVersion == "" {
			s.Errorf("%s does not say its versions: %q, %q", cluster, mc.Status.KubernetesVersion, mc.Status.AgentVersion)
		}
	}
	s.hasNamespace("prod-eu", "payments", true)
	s.hasNamespace("prod-us", "payments", true)
	s.hasNamespace("dev", "payments", false)
	for _, cluster := range everyCluster {
		s.isProfiled(cluster)
	}
}

// isProfiled: tools of SIG-Multicluster find a cluster on the hub, with its version and with what it says itself of where it belongs.
func (s *story) isProfiled(cluster string) {
	s.Helper()
	s.eventually(cluster+" says its name", func(ctx context.Context) error {
		own, err := s.Umbel(ctx, "kubectl", cluster, "--", "get", "clusterproperties.about.k8s.io", about.ClusterProperty, "-o", "jsonpath={.spec.value}")
		if err == nil && own != cluster {
			err = fmt.Errorf("it says that it is %q", own)
		}
		return err
	})
	want := s.member(cluster).Status.KubernetesVersion
	s.eventually(cluster+" has a ClusterProfile", func(ctx context.Context) error {
		raw, err := s.Shell(ctx, `umbel-kube kubectl --kubeconfig "$UMBEL_HOME/hub/admin.kubeconfig" -n umbel-system get clusterprofile -o json `+cluster)
		var profile inventory.ClusterProfile
		if err == nil {
			err = json.Unmarshal([]byte(raw), &profile)
		}
		if err != nil {
			return err
		}
		healthy := condition(profile.Status.Conditions, inventory.ClusterConditionControlPlaneHealthy)
		named := slices.ContainsFunc(profile.Status.Properties, func(p inventory.Property) bool {
			return p.Name == about.ClusterProperty && p.Value == cluster
		})
		if healthy.Status != metav1.ConditionTrue || profile.Status.Version.Kubernetes != want || !named {
			return fmt.Errorf("it says %+v, want healthy, %s, and its name", profile.Status, want)
		}
		return nil
	})
}

func labels(s *story) {
	s.umbel("label", "cluster", "dev", "env=prod", "--overwrite")
	s.hasNamespace("dev", "payments", true)
	s.umbel("label", "cluster", "dev", "env=dev", "--overwrite")
	s.hasNamespace("dev", "payments", false)
	s.hasNamespace("prod-eu", "payments", true)
}

func hubVanishes(s *story) {
	uids := s.uids("dev")
	s.kill("umbel hub", s.Home)
	s.eventually("the hub has ended", func(context.Context) error {
		pids, err := s.Processes("umbel hub", s.Home)
		if err == nil && len(pids) > 0 {
			err = fmt.Errorf("its processes are %v", pids)
		}
		return err
	})
	s.refused([]string{"get", "clusters"}, "does not answer")
	for _, cluster := range everyCluster {
		s.roleComesBack(cluster)
	}
	s.umbel("up")
	for _, cluster := range everyCluster {
		s.umbel("kubectl", cluster, "--", "get", "--raw", "/readyz") // it is connected to this hub, not to the one before
	}
	after := s.uids("dev")
	delete(uids, "Role shop/pod-reader")
	delete(after, "Role shop/pod-reader")
	if diff := cmp.Diff(uids, after); diff != "" {
		s.Errorf("the hub's return changed objects:\n%s", diff)
	}
}

func linkIsCut(s *story) {
	link := s.link("prod-us")
	s.shell("ip link set " + link + " down")
	s.commit("While a link is cut", map[string]string{"shop/extra.yaml": configMap("shop", "extra", "v", "1")})
	s.holds("prod-eu", "shop", "extra", "v", "1")
	s.holds("dev", "shop", "extra", "v", "1")
	s.memberSays("prod-us", v1alpha1.ConditionConnected, metav1.ConditionUnknown)
	if mc := s.member("prod-us"); mc.Status.LastSeen == nil {
		s.Error("an unknown cluster does not say when it was seen last")
	}
	if out := s.umbel("get", "clusters"); !strings.Contains(out, "Unknown (") {
		s.Errorf("the list does not say how old the last word is:\n%s", out)
	}
	s.packageSays("shop", v1alpha1.ConditionDelivered, metav1.ConditionUnknown, "prod-us")
	s.refused([]string{"kubectl", "prod-us", "--", "get", "ns"}, "prod-us", "not connected")
	s.shell("ip link set " + link + " up")
	s.holds("prod-us", "shop", "extra", "v", "1")
	s.memberSays("prod-us", v1alpha1.ConditionConnected, metav1.ConditionTrue)
	s.packageSays("shop", v1alpha1.ConditionReady, metav1.ConditionTrue)
	s.networksPage("prod-us")
}

func partialApply(s *story) {
	s.commit("Take one object away, and add one that no API server takes", map[string]string{
		"shop/extra.yaml": "",
		"shop/wrong.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: wrong, namespace: shop}\nruels: []\n",
	})
	s.packageSays("shop", v1alpha1.ConditionDelivered, metav1.ConditionFalse, "shop/wrong.yaml", "ruels")
	for _, cluster := range everyCluster {
		s.holds(cluster, "shop", "extra", "v", "1")
	}
	s.roleComesBack("prod-us") // what could be applied is looked after meanwhile
	s.commit("Mend it", map[string]string{"shop/wrong.yaml": ""})
	s.packageSays("shop", v1alpha1.ConditionReady, metav1.ConditionTrue)
	for _, cluster := range everyCluster {
		client := s.clients(cluster)
		s.eventually(cluster+": what left the source is pruned", func(ctx context.Context) error {
			_, err := client.CoreV1().ConfigMaps("shop").Get(ctx, "extra", metav1.GetOptions{})
			if !apierrors.IsNotFound(err) {
				return fmt.Errorf("it is there: %v", err)
			}
			return nil
		})
	}
}

func brokenSource(s *story) {
	uids := map[string]map[string]string{}
	for _, cluster := range everyCluster {
		uids[cluster] = s.uids(cluster)
	}
	unchanged := func(what string) {
		s.Helper()
		for _, cluster := range everyCluster {
			if diff := cmp.Diff(uids[cluster], s.uids(cluster)); diff != "" {
				s.Errorf("%s: %s changed:\n%s", what, cluster, diff)
			}
		}
	}
	good := strings.TrimSpace(s.shell(`git -C "$UMBEL_HOME/fleet" rev-parse HEAD`))
	s.commit("Break a file", map[string]string{"shop/broken.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: [}\n"})
	s.packageSays("shop", v1alpha1.ConditionRendered, metav1.ConditionFalse, "shop/broken.yaml")
	s.describes("shop", "shop/broken.yaml")
	unchanged("invalid YAML")

	s.commit("Empty the folder", map[string]string{"shop": ""})
	s.packageSays("shop", v1alpha1.ConditionReady, metav1.ConditionFalse, "shop")
	unchanged("an emptied folder")

	if err := s.Git(s.ctx, "checkout -q --orphan empty", "rm -rfq .", "commit -q --allow-empty -m Nothing", "branch -M empty main"); err != nil {
		s.Fatal(err)
	}
	s.umbel("refresh", "package", "--all") // a moved branch has no hook
	s.packageSays("shop", v1alpha1.ConditionReady, metav1.ConditionFalse)
	s.packageSays("baseline", v1alpha1.ConditionReady, metav1.ConditionFalse, "baseline")
	unchanged("a force-pushed, empty branch")

	hidden := s.Repository() + ".hidden"
	if err := os.Rename(s.Repository(), hidden); err != nil {
		s.Fatal(err)
	}
	s.umbel("refresh", "package", "shop")
	s.packageSays("shop", v1alpha1.ConditionFetched, metav1.ConditionFalse, "file://"+s.Repository())
	unchanged("an unreadable repository")
	s.roleComesBack("prod-eu")
	if err := os.Rename(hidden, s.Repository()); err != nil {
		s.Fatal(err)
	}
	if err := s.Git(s.ctx, "checkout -q "+good+" -- .", "add -A", "commit -q -m 'As it was'"); err != nil {
		s.Fatal(err)
	}
	s.packageSays("shop", v1alpha1.ConditionReady, metav1.ConditionTrue)
	s.packageSays("baseline", v1alpha1.ConditionReady, metav1.ConditionTrue)
}

func agentIsKilled(s *story) {
	const count = 400
	files := map[string]string{"big/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: big\n"}
	for i := range count {
		files[fmt.Sprintf("big/o-%03d.yaml", i)] = configMap("big", fmt.Sprintf("o-%03d", i), "v", "1")
	}
	s.commit("A large package", files)
	s.createPackage("big", "big", "everywhere")
	client := s.clients("prod-eu")
	for _, v := range []string{"1", "2"} {
		if v == "2" {
			for i := range count {
				files[fmt.Sprintf("big/o-%03d.yaml", i)] = configMap("big", fmt.Sprintf("o-%03d", i), "v", v)
			}
			delete(files, "big/o-000.yaml")
			files["big/o-000.yaml"] = ""
			s.commit("Change all of it", files)
		}
		s.eventually("the apply is under way", func(ctx context.Context) error {
			list, err := client.CoreV1().ConfigMaps("big").List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			n := 0
			for _, cm := range list.Items {
				if cm.Data["v"] == v {
					n++
				}
			}
			if n < count/20 {
				return fmt.Errorf("%d objects are at %s", n, v)
			}
			return nil
		})
		s.killAgents()
	}
	s.packageSays("big", v1alpha1.ConditionReady, metav1.ConditionTrue)
	for _, cluster := range everyCluster {
		list, err := s.clients(cluster).CoreV1().ConfigMaps("big").List(s.ctx, metav1.ListOptions{LabelSelector: v1alpha1.PackageLabel})
		if err != nil {
			s.Fatal(err)
		}
		for _, cm := range list.Items {
			if cm.Data["v"] != "2" {
				s.Errorf("%s: %s is at %q", cluster, cm.Name, cm.Data["v"])
			}
		}
		if len(list.Items) != count-1 {
			s.Errorf("%s has %d objects of the package, want %d: one was deleted from the source", cluster, len(list.Items), count-1)
		}
	}
	s.eventually("dev is reached again, whose agent may have been killed once it was done", func(ctx context.Context) error {
		_, err := s.Umbel(ctx, "kubectl", "dev", "--", "get", "configmap", "o-001", "-n", "big")
		return err
	})
	s.deletePackage("big")
	s.hasNamespace("prod-us", "big", false)
}

func oneOwner(s *story) {
	s.commit("Claim what shop has", map[string]string{"rival/role.yaml": `apiVersion: v1
kind: ConfigMap
metadata:
  name: storefront
  namespace: shop
data:
  greeting: Mine
`})
	s.createPackage("rival", "rival", "everywhere")
	s.describes("rival", "default/shop", "storefront")
	s.holds("dev", "shop", "storefront", "greeting", "Hello")
	s.deletePackage("rival")
	s.holds("dev", "shop", "storefront", "greeting", "Hello")
}

func leaves(s *story) {
	s.umbel("leave", "dev")
	s.hasNamespace("dev", v1alpha1.AgentNamespace, false)
	s.hasNamespace("dev", "shop", true) // what was delivered stays
	s.with("while everything that takes part is killed", func(s *story) {
		s.onHub(`patch membercluster prod-us --type=merge -p '{"spec":{"deletionPolicy":"Prune"}}'`)
		s.onHub("delete membercluster prod-us --wait=false")
		s.killAgents()
		s.restartHub()
		s.eventually("the cluster has left", func(ctx context.Context) error {
			out, err := s.Umbel(ctx, "get", "clusters", "-o", "name")
			if err == nil && strings.Contains(out, "prod-us") {
				err = fmt.Errorf("the fleet is:\n%s", out)
			}
			return err
		})
		s.hasNamespace("prod-us", v1alpha1.AgentNamespace, false)
		s.hasNamespace("prod-us", "shop", false)
	})
	if out := s.umbel("get", "clusters", "-o", "name"); strings.Contains(out, "/dev") || !strings.Contains(out, "prod-eu") {
		s.Errorf("the fleet after two clusters left:\n%s", out)
	}
	s.with("and comes back", comesBack)
	s.with("and comes back to a hub that has forgotten it", func(s *story) {
		s.umbel("leave", "dev", "--force")
		s.hasNamespace("dev", v1alpha1.AgentNamespace, true) // its agent has not let go
		comesBack(s)
	})
}

func comesBack(s *story) {
	s.umbel("join", "dev", "--kubeconfig", filepath.Join(s.Home, "local", "dev", "kubeconfig"), "--label", "env=dev", "--label", "region=eu")
	s.memberSays("dev", v1alpha1.ConditionReady, metav1.ConditionTrue)
	s.roleComesBack("dev")
}

func configMap(namespace, name, key, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n  namespace: %s\ndata:\n  %s: %q\n", name, namespace, key, value)
}
