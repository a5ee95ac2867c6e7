//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/lifecycle/capi"
	"umbel.dev/umbel/internal/programtest"
	"umbel.dev/umbel/test/rig"
)

// TestProvidersOfClusterAPI is the runbook docs/operate/providers.md, on a hub with an API of its own: a provider is added, a
// cluster is made, the hub is started again, and all of it goes. Nothing stays that a garbage collector would have taken.
func TestProvidersOfClusterAPI(t *testing.T) {
	programs := filepath.Dir(programtest.Alone(t, "capd")) + "/"
	s := &story{T: t, Fleet: &rig.Fleet{Home: t.TempDir(), Log: t.Output()}, ctx: t.Context()}
	start := func() {
		t.Helper()
		if err := hub.Launch(s.Home, rig.Binary("umbel")); err != nil {
			t.Fatal(err)
		}
		s.eventually("the hub answers", func(ctx context.Context) error {
			_, err := s.Umbel(ctx, "provider", "list")
			return err
		})
	}
	start()
	t.Cleanup(func() {
		if err := hub.Stop(context.WithoutCancel(t.Context()), s.Home); err != nil {
			t.Error(err)
		}
	})
	api, err := s.Hub()
	if err != nil {
		t.Fatal(err)
	}
	commands := runbook(t, "providers.md")
	run := func(containing string) {
		t.Helper()
		for _, command := range commands {
			if strings.Contains(command, containing) {
				if _, err := s.Shell(t.Context(), strings.ReplaceAll(command, "build/bin/", programs)); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
		t.Fatalf("no command of docs/operate/providers.md has %q in it", containing)
	}
	run("provider add dev")
	s.eventually("both serve", func(ctx context.Context) error { return s.serve(ctx, 2, time.Time{}) })
	run("provider list")

	class, cluster := fromTestdata(t, "class.yaml"), fromTestdata(t, "cluster.yaml")[0]
	for _, object := range append(class, cluster) {
		if err := api.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	// Cluster API looks again every so often: this takes most of a minute, of which the machines are a few seconds.
	if err := rig.Eventually(t.Context(), 4*time.Minute, func(ctx context.Context) error { return available(ctx, api, cluster) }); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"umbel-capi", "providers/dev/program", "kube-controller-manager"} {
		var pids []int
		s.eventually(name+" is one process", func(context.Context) (err error) { // what it starts looks like it for a moment
			if pids, err = s.Processes(s.Home, name); err == nil && len(pids) != 1 {
				err = fmt.Errorf("its processes are %v", pids)
			}
			return err
		})
		memory, err := rig.MemoryOf(pids[0])
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %+v", name, memory)
	}

	if err := hub.Stop(t.Context(), s.Home); err != nil {
		t.Fatal(err)
	}
	s.eventually("a hub that ended leaves no processes", func(context.Context) error { // the kernel ends those of one that did not end in time
		pids, err := s.Processes(s.Home)
		if err == nil && len(pids) > 0 {
			err = fmt.Errorf("they are %v", pids)
		}
		return err
	})
	again := time.Now().Truncate(time.Second)
	start()
	s.eventually("both serve again", func(ctx context.Context) error { return s.serve(ctx, 2, again) })

	run("provider remove dev")
	if err := api.Delete(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	if err := rig.Eventually(t.Context(), 4*time.Minute, func(ctx context.Context) error { return nothingOf(ctx, api, cluster) }); err != nil {
		t.Fatal(err)
	}
	for _, object := range class {
		s.eventually(object.GetKind()+" "+object.GetName()+" can be deleted", func(ctx context.Context) error { // Cluster API may not have heard yet that nobody needs it
			return kube.IgnoreNotFound(api.Delete(ctx, object))
		})
	}
	run("provider remove cluster-api")
	s.eventually("both are gone", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "provider", "list", "-o", "name")
		if err == nil && out != "" {
			err = errors.New("there are " + out)
		}
		return err
	})
	if left, err := os.ReadDir(hub.ProvidersDir(s.Home)); err != nil || len(left) > 0 {
		t.Errorf("folders of providers are left: %v (%v)", left, err)
	}
}

// runbook returns the commands of a page of docs/operate.
func runbook(t *testing.T, name string) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("../../docs/operate", name))
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "umbel ") || strings.HasPrefix(line, "umbel-kube ") {
			commands = append(commands, strings.TrimSpace(line))
		}
	}
	return commands
}

// serve says whether so many providers serve, Cluster API among them, and have begun to since then: a hub that is gone says nothing new.
func (s *story) serve(ctx context.Context, number int, since time.Time) error {
	out, err := s.Umbel(ctx, "provider", "list", "-o", "json")
	if err != nil {
		return err
	}
	var all []v1alpha1.Provider
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return err
	}
	if len(all) != number {
		return fmt.Errorf("there are %d providers", len(all))
	}
	for _, p := range all {
		ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Reason != v1alpha1.ReasonServing || ready.LastTransitionTime.Time.Before(since) {
			return fmt.Errorf("%s: %+v", p.Name, ready)
		}
	}
	return nil
}

// fromTestdata returns the objects of a file of package capi's tests.
func fromTestdata(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../../internal/lifecycle/capi/testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := capi.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		o.SetNamespace(metav1.NamespaceDefault)
	}
	return objects
}

// available says whether Cluster API calls a cluster that.
func available(ctx context.Context, api kube.Client, cluster *unstructured.Unstructured) error {
	if err := api.Get(ctx, kube.ObjectKeyFromObject(cluster), cluster); err != nil {
		return err
	}
	conditions, _, err := unstructured.NestedSlice(cluster.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Available" && c["status"] == "True" {
			return nil
		}
	}
	return errors.Join(err, fmt.Errorf("it is not: %v", conditions))
}

// nothingOf says what is left of a cluster. Its Secrets nobody deletes but a garbage collector.
func nothingOf(ctx context.Context, api kube.Client, cluster *unstructured.Unstructured) error {
	if err := api.Get(ctx, kube.ObjectKeyFromObject(cluster), cluster.DeepCopy()); !apierrors.IsNotFound(err) {
		return fmt.Errorf("it is there (%w)", err)
	}
	var secrets corev1.SecretList
	if err := api.List(ctx, &secrets, kube.InNamespace(metav1.NamespaceDefault)); err != nil {
		return err
	}
	for _, secret := range secrets.Items {
		if strings.HasPrefix(secret.Name, cluster.GetName()+"-") {
			return fmt.Errorf("its Secret %s is left", secret.Name)
		}
	}
	return nil
}
