//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
)

const driftingPackage = `apiVersion: v1
kind: Namespace
metadata: {name: drifting}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: drifting}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "registry.invalid/nothing:9", imagePullPolicy: Never}]
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: late
  namespace: drifting
  annotations: {umbel.dev/depends-on: ConfigMap early, umbel.dev/drift: report}
data: {v: "1"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: early, namespace: drifting}
data: {v: "1"}
`

// drift is what others do to what clusters hold, and how it is told; and a Deployment that cannot become healthy.
func drift(s *story) {
	s.commit("What drifts", map[string]string{"drifting/all.yaml": driftingPackage})
	s.createPackage("drifting", "drifting", "everywhere")
	for _, cluster := range everyCluster {
		s.holds(cluster, "drifting", "late", "v", "1")
	}
	s.describes("drifting", "pod web-", "container web: ErrImageNeverPull")

	s.onHub(`patch package drifting --type=merge -p '{"spec":{"drift":{"ignore":[{"target":{"kind":"Deployment"},"jsonPointers":["/spec/replicas"]}],"prevention":"Deny","allow":{"users":["drifter"]}}}}'`)
	client := s.clients("prod-eu")
	s.eventually("the replicas are nobody's", func(ctx context.Context) error {
		d, err := client.AppsV1().Deployments("drifting").Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		return unowned(d)
	})
	drifter := s.drifter("prod-eu")
	patch := func(name, data string) {
		s.Helper()
		_, err := drifter.CoreV1().ConfigMaps("drifting").Patch(s.ctx, name, types.MergePatchType, []byte(data), metav1.PatchOptions{FieldManager: "kubectl-edit"})
		if err != nil {
			s.Fatal(err)
		}
	}
	patch("early", `{"data":{"v":"9"}}`)
	patch("late", `{"data":{"v":"9"}}`)
	s.holds("prod-eu", "drifting", "early", "v", "1")
	s.eventually("both are told", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "drift", "drifting", "--clusters", "region=eu,env=prod", "-o", "wide")
		for _, words := range [][]string{{"drifting/early", "data.v", "drifter (kubectl-edit)", string(v1alpha1.DriftRepaired)}, {"drifting/late", "data.v", "drifter (kubectl-edit)", string(v1alpha1.DriftReported)}} {
			if err == nil && !hasLine(out, words...) {
				err = fmt.Errorf("no line with %v in:\n%s", words, out)
			}
		}
		return err
	})
	s.holds("prod-eu", "drifting", "late", "v", "9")
	if err := drifter.CoreV1().ConfigMaps("drifting").Delete(s.ctx, "early", metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
	s.holds("prod-eu", "drifting", "early", "v", "1")
	s.eventually("who deleted it is told", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "drift", "drifting", "-o", "wide")
		if err == nil && !hasLine(out, "drifting/early", "deleted", "drifter", string(v1alpha1.DriftRepaired)) {
			err = fmt.Errorf("it says:\n%s", out)
		}
		return err
	})
	s.eventually("somebody who comes through the hub is refused", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "kubectl", "prod-eu", "--", "annotate", "configmap", "early", "-n", "drifting", "a=b", "--overwrite")
		if err == nil {
			return fmt.Errorf("it went through:\n%s", out)
		}
		if !strings.Contains(err.Error()+out, "Package default/drifting of Umbel holds this object") {
			return fmt.Errorf("it says: %w\n%s", err, out)
		}
		return nil
	})
	s.driftPage()
	s.deletePackage("drifting")
	s.hasNamespace("prod-eu", "drifting", false)
}

// driftPage runs the commands of docs/operate/drift.md, and has an administrator change what nobody may.
func (s *story) driftPage() {
	s.Helper()
	page, err := os.ReadFile("../../docs/operate/drift.md")
	if err != nil {
		s.Fatal(err)
	}
	here := strings.NewReplacer("drift shop", "drift drifting", "packages.umbel.dev shop", "packages.umbel.dev drifting", "-n shop", "-n drifting", "~/.umbel", s.Home,
		"kubectl --as", "umbel-kube kubectl --kubeconfig "+filepath.Join(s.Home, "local", "prod-eu", "kubeconfig")+" --as", "kubectl --kubeconfig", "umbel-kube kubectl --kubeconfig")
	ran := 0
	last := ""
	for _, command := range regexp.MustCompile("`(umbel drift [^`]*-[^`]*)`|(?m)^((?:umbel drift|kubectl) .*)$").FindAllStringSubmatch(string(page), -1) {
		last = "export KUBE_EDITOR=\"sed -i 's/:9/:10/'\"; " + here.Replace(command[1]+command[2])
		s.shell(last)
		ran++
	}
	if ran != 7 {
		s.Errorf("%d commands of the page ran, want 7", ran)
	}
	client := s.clients("prod-eu")
	s.eventually("after the emergency the image is the administrator's", func(ctx context.Context) error {
		web, err := client.AppsV1().Deployments("drifting").Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if got := web.Spec.Template.Spec.Containers[0].Image; got != "registry.invalid/nothing:10" {
			_, err := s.Shell(ctx, last) // the agent may not have heard of the mode yet, and have put it back
			return errors.Join(fmt.Errorf("it is %s", got), err)
		}
		return nil
	})
}

// drifter is who the package lets change what it holds, with the rights of an administrator.
func (s *story) drifter(cluster string) *kubernetes.Clientset {
	s.Helper()
	config, err := s.Member(cluster)
	if err != nil {
		s.Fatal(err)
	}
	config = rest.CopyConfig(config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "drifter", Groups: []string{"umbel:admins"}}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		s.Fatal(err)
	}
	return client
}

// unowned says whether the agent has given the replicas up, with what they were.
func unowned(d *appsv1.Deployment) error {
	if *d.Spec.Replicas != 1 {
		return fmt.Errorf("there are %d replicas", *d.Spec.Replicas)
	}
	for _, entry := range d.ManagedFields {
		if entry.Manager == v1alpha1.FieldManager && strings.Contains(string(entry.FieldsV1.GetRawBytes()), "f:replicas") {
			return fmt.Errorf("the agent owns them")
		}
	}
	return nil
}

// hasLine says whether a text has a line with all of the words.
func hasLine(text string, words ...string) bool {
	for line := range strings.Lines(text) {
		all := true
		for _, word := range words {
			all = all && strings.Contains(line, word)
		}
		if all {
			return true
		}
	}
	return false
}
