//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// storesPackage runs what the cluster's label names, which is on the nodes or is not.
const storesPackage = `apiVersion: apps/v1
kind: Deployment
metadata: {name: store, namespace: default}
spec:
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: store, image: "registry.umbel.dev/${cluster.labels.image}:v1", imagePullPolicy: Never}]
`

// inOrder is one package that no cluster gets before another one is healthy in a region: neither those where that one is healthy
// nor those of other regions; and so it is with each new release, while all keep what they hold.
func inOrder(s *story) {
	const ill = "package default/store is not healthy on cluster prod-eu"
	image := func(cluster, name string) { s.umbel("label", "cluster", cluster, "image="+name, "--overwrite") }
	for _, cluster := range everyCluster {
		image(cluster, "pause")
		defer s.umbel("label", "cluster", cluster, "image-")
	}
	image("prod-eu", "nothing")
	s.commit("A desk, and its store", map[string]string{"store/all.yaml": storesPackage, "desk/all.yaml": desk("1")})
	if err := s.manifest(s.packageYAML("desk", "path: desk", "everywhere") + "  dependsOn: [{name: store, clusterSelector: {matchLabels: {region: eu}}}]\n"); err != nil {
		s.Fatal(err)
	}
	s.packageSays("desk", v1alpha1.ConditionDependencies, metav1.ConditionFalse, "there is no package default/store")
	s.createPackage("store", "store", "everywhere")
	s.explains("store", "prod-us", "store is on prod-us")
	s.explains("store", "dev", "store is on dev")
	s.explains("desk", "prod-us", "desk is on its way to prod-us: 3 clusters wait: dev, prod-eu, prod-us", ill, "`umbel describe package NAME` of a package that the message names")
	for _, cluster := range everyCluster {
		if cm, err := s.clients(cluster).CoreV1().ConfigMaps("default").Get(s.ctx, "desk", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			s.Errorf("%s has it already: %v, %v", cluster, cm.Data, err)
		}
	}
	image("prod-eu", "pause")
	s.explains("store", "prod-eu", "store is on prod-eu")
	for _, cluster := range everyCluster {
		s.holds(cluster, "default", "desk", "v", "1")
	}
	s.explains("desk", "prod-us", "desk is on prod-us", "no cluster waits for default/store")

	image("prod-eu", "nothing")
	s.explains("store", "prod-eu", "store is on its way to prod-eu")
	s.commit("Another desk", map[string]string{"desk/all.yaml": desk("2")})
	s.explains("desk", "dev", "desk is on its way to dev: 3 clusters wait", ill)
	for _, cluster := range everyCluster {
		s.holds(cluster, "default", "desk", "v", "1")
	}
	image("prod-eu", "pause")
	for _, cluster := range everyCluster {
		s.holds(cluster, "default", "desk", "v", "2")
	}
	s.deletePackage("desk")
	s.deletePackage("store")
}

func desk(v string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: desk, namespace: default}\ndata: {v: \"" + v + "\"}\n"
}

// explains waits until `umbel explain package` says all of the words.
func (s *story) explains(name, cluster string, words ...string) {
	s.Helper()
	s.eventually("explain package "+name+" --cluster "+cluster, func(context.Context) error {
		out := s.umbel("explain", "package", name, "--cluster", cluster)
		for _, word := range words {
			if !strings.Contains(out, word) {
				return fmt.Errorf("it does not say %q:\n%s", word, out)
			}
		}
		return nil
	})
}
