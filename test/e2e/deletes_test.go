//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// deletes: a commit that takes most of a package away deletes nothing until somebody says so, what was deleted comes back and
// stays, and a placement that selects nothing takes a package from nobody by itself (docs/operate/deletes.md).
func deletes(s *story) {
	const count = 12
	files := map[string]string{"goods/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: goods\n"}
	for i := range count {
		files[fmt.Sprintf("goods/o-%02d.yaml", i)] = configMap("goods", fmt.Sprintf("o-%02d", i), "v", "1")
	}
	s.commit("Goods", files)
	s.createPackage("goods", "goods", "everywhere")
	s.packageSays("goods", v1alpha1.ConditionReady, metav1.ConditionTrue)

	// A commit that goes too far, with a change in it.
	files = map[string]string{"goods/o-00.yaml": configMap("goods", "o-00", "v", "2")}
	for i := 4; i < count; i++ {
		files[fmt.Sprintf("goods/o-%02d.yaml", i)] = ""
	}
	s.commit("Too much goes", files)
	s.packageSays("goods", v1alpha1.ConditionDelivered, metav1.ConditionFalse, "8 of 13 objects", "umbel approve deletes goods")
	for _, cluster := range everyCluster { // each has said so before its agent is killed
		s.memberSays(cluster, v1alpha1.ConditionSynced, metav1.ConditionFalse, "umbel approve deletes goods")
	}
	s.describes("goods", "Deletes that wait", "8 of 13", "umbel approve deletes goods")
	for _, cluster := range everyCluster {
		s.holds(cluster, "goods", "o-00", "v", "2")
		s.holds(cluster, "goods", "o-11", "v", "1")
	}
	s.killAgents() // nothing happens by itself, whoever starts anew
	s.restartHub()
	s.eventually("the hub is back", func(ctx context.Context) error {
		_, err := s.Umbel(ctx, "get", "package", "goods")
		return err
	})
	s.packageSays("goods", v1alpha1.ConditionDelivered, metav1.ConditionFalse, "8 of 13 objects")
	s.holds("dev", "goods", "o-11", "v", "1")

	s.umbel("approve", "deletes", "goods", "--cluster", "dev", "--yes")
	s.lacks("dev", "goods", "o-11")
	s.holds("prod-eu", "goods", "o-11", "v", "1")
	for _, cluster := range []string{"prod-eu", "prod-us"} { // each agent is back, and says so again
		s.memberSays(cluster, v1alpha1.ConditionSynced, metav1.ConditionFalse, "umbel approve deletes goods")
	}
	s.umbel("approve", "deletes", "goods", "--yes")
	s.packageSays("goods", v1alpha1.ConditionReady, metav1.ConditionTrue)
	for _, cluster := range everyCluster {
		s.lacks(cluster, "goods", "o-11")
	}
	s.eventually("the audit log says who let it go, and what went", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "audit", "--since", "10m", "-o", "wide")
		if err == nil && (!strings.Contains(out, "cause=Approved") || !strings.Contains(out, "packages")) {
			err = fmt.Errorf("it says:\n%s", out)
		}
		return err
	})

	// Somebody notices.
	s.umbel("undo", "goods", "--cluster", "prod-eu", "--yes")
	s.holds("prod-eu", "goods", "o-11", "v", "1")
	s.umbel("undo", s.deletion("prod-us", "goods"), "--yes")
	s.holds("prod-us", "goods", "o-11", "v", "1")
	s.packageSays("goods", v1alpha1.ConditionDelivered, metav1.ConditionFalse, "brought back")
	s.lacks("dev", "goods", "o-11")
	files = map[string]string{}
	for i := 4; i < count; i++ {
		files[fmt.Sprintf("goods/o-%02d.yaml", i)] = configMap("goods", fmt.Sprintf("o-%02d", i), "v", "3")
	}
	s.commit("As it was", files)
	s.packageSays("goods", v1alpha1.ConditionReady, metav1.ConditionTrue)
	for _, cluster := range everyCluster {
		s.holds(cluster, "goods", "o-11", "v", "3")
	}

	// A placement with a typo.
	if err := s.manifest("apiVersion: umbel.dev/v1alpha1\nkind: Placement\nmetadata: {name: typo, namespace: default}\nspec: {clusterSelector: {matchLabels: {env: porduction}}}\n"); err != nil {
		s.Fatal(err)
	}
	s.onHub(`patch package goods --type=merge -p '{"spec":{"placementRef":{"name":"typo"}}}'`)
	s.packageSays("goods", v1alpha1.ConditionDelivered, metav1.ConditionFalse, "does not select 3 of 3 clusters", "umbel approve deletes goods")
	for _, cluster := range everyCluster {
		s.holds(cluster, "goods", "o-11", "v", "3")
	}
	s.umbel("approve", "deletes", "goods", "--cluster", "dev", "--yes")
	s.hasNamespace("dev", "goods", false)
	s.holds("prod-eu", "goods", "o-11", "v", "3")
	s.eventually("dev says what it lost last", func(ctx context.Context) error { // its namespace is gone before its agent says so
		out, err := s.Umbel(ctx, "undo", "goods", "--list", "--cluster", "dev")
		if err == nil && !strings.Contains(out, "package removed") {
			err = fmt.Errorf("it says:\n%s", out)
		}
		return err
	})
	s.umbel("undo", "goods", "--cluster", "dev", "--yes") // all of it, and nobody's, until it is placed there again
	s.holds("dev", "goods", "o-11", "v", "3")
	s.onHub(`patch package goods --type=merge -p '{"spec":{"placementRef":{"name":"everywhere"}}}'`)
	s.packageSays("goods", v1alpha1.ConditionReady, metav1.ConditionTrue)
	s.deletesPage()
	s.deletePackage("goods") // somebody's word: nobody is asked
	for _, cluster := range everyCluster {
		s.hasNamespace(cluster, "goods", false)
	}
	s.onHub("delete placement typo")
}

// deletion is the one that a cluster had last of a package.
func (s *story) deletion(cluster, pkg string) string {
	s.Helper()
	var found []struct{ ID string }
	out := s.umbel("undo", pkg, "--list", "--cluster", cluster, "-o", "json")
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found) == 0 {
		s.Fatalf("umbel undo --list says %v:\n%s", err, out)
	}
	return found[0].ID
}

// deletesPage runs the commands of the table of docs/operate/deletes.md, of this package, as far as they ask for nothing.
func (s *story) deletesPage() {
	s.Helper()
	page, err := os.ReadFile("../../docs/operate/deletes.md")
	if err != nil {
		s.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| you want | run |")
	table, _, _ = strings.Cut(table, "\n## ")
	commands := regexp.MustCompile("`umbel ([^`]+)`").FindAllStringSubmatch(table, -1)
	if len(commands) < 5 {
		s.Fatalf("the page has %d commands", len(commands))
	}
	for _, command := range commands {
		line := strings.NewReplacer("shop", "goods", "DELETION", s.deletion("dev", "goods"), "prod-eu", "dev").Replace(command[1])
		args := strings.Fields(line)
		if args[0] == "undo" && args[1] != "--list" {
			s.refused(args, "undone already") // dev got back what it lost last
			continue
		}
		s.umbel(args...)
	}
}

// lacks waits until a ConfigMap is gone.
func (s *story) lacks(cluster, namespace, name string) {
	s.Helper()
	client := s.clients(cluster)
	s.eventually(fmt.Sprintf("%s: %s/%s is gone", cluster, namespace, name), func(ctx context.Context) error {
		_, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
}
