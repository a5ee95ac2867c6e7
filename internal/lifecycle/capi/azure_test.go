//go:build azure

package capi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/lifecycle/azuretest"
	"umbel.dev/umbel/internal/programtest"
)

// TestTheProviderForAzure has Cluster API's provider for Azure, unchanged, run by a hub: it serves, takes the class of the runbook and refuses what
// it is to refuse, and says of a cluster that its credentials are wrong. Where Azure would be is a stand-in that makes nothing.
func TestTheProviderForAzure(t *testing.T) {
	w := newWorld(t)
	cloud := azuretest.Start(t)
	hub := w.hub()
	azure := FolderOf(hub.dir, "azure")
	if err := errors.Join(
		os.MkdirAll(string(azure), 0o700),
		os.Symlink(cloud.Program(t, programtest.Of(t, "capz")), azure.Program()), os.Symlink(programtest.Of(t, "capz.yaml"), azure.Components()),
		w.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}),
		w.Create(t.Context(), &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "azure"}}),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		t.Logf("the stand-in was asked\n%s", strings.Join(cloud.Heard(), "\n"))
		if t.Failed() {
			log, err := os.ReadFile(azure.logFile("azure"))
			t.Logf("the provider says (%v)\n%s", err, log[max(0, len(log)-6000):])
		}
	})
	w.eventually("the provider for Azure serves", 3*time.Minute, w.reason("azure", v1alpha1.ReasonServing))
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "azure"}, StringData: map[string]string{"clientSecret": "wrong"}}
	if err := w.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	w.knowsOurKinds()
	w.takesTheClassOfAzure()

	cluster, place := w.create("azure.yaml")[0], &unstructured.Unstructured{}
	place.SetAPIVersion("infrastructure.cluster.x-k8s.io/v1beta1")
	place.SetKind("AzureCluster")
	place.SetNamespace(metav1.NamespaceDefault)
	w.eventually("an AzureCluster is made of the class", time.Minute, func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(cluster), cluster); err != nil {
			return err
		}
		name, _, _ := unstructured.NestedString(cluster.Object, "spec", "infrastructureRef", "name")
		place.SetName(name)
		if name == "" {
			return fmt.Errorf("the Cluster says %v", cluster.Object["status"])
		}
		return w.Get(ctx, client.ObjectKeyFromObject(place), place)
	})
	w.eventually("it is said that the credentials are wrong", 3*time.Minute, w.saying(place, "NetworkInfrastructureReady", "False", "AADSTS7000215: Invalid client secret provided"))
	w.eventually("and in what sums it up", time.Minute, w.saying(place, "Ready", "False", "AADSTS7000215: Invalid client secret provided"))
	w.eventually("and in the Cluster", time.Minute, w.saying(cluster, "InfrastructureReady", "False", "AADSTS7000215: Invalid client secret provided"))
	if enabled, said, _ := unstructured.NestedBool(place.Object, "spec", "controlPlaneEnabled"); !said || enabled {
		t.Errorf("that the control plane is elsewhere has become %t (said: %t)", enabled, said)
	}

	right := client.RawPatch("application/merge-patch+json", []byte(`{"stringData":{"clientSecret":"`+azuretest.Secret+`"}}`))
	if err := w.Patch(t.Context(), secret, right); err != nil {
		t.Fatal(err)
	}
	before := hub.runs(w, "azure")
	// It keeps for a day with which secret it asks for the machines of a region: it is started anew, as `umbel provider add` does.
	provider := &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "azure"}}
	if err := w.Patch(t.Context(), provider, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"args":["--v=1"]}}`))); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is another process", time.Minute, func(context.Context) error {
		if now := hub.runs(w, "azure"); now == 0 || now == before {
			return fmt.Errorf("it is process %d", now)
		}
		return nil
	})
	w.eventually("with the right ones it signs in, and asks for the machines of the region", 3*time.Minute, func(context.Context) error {
		asked := "GET management.azure.com/subscriptions/" + azuretest.Subscription + "/providers/Microsoft.Compute/skus: 200"
		if heard := cloud.Heard(); !slices.Contains(heard, asked) {
			return fmt.Errorf("it has asked %d times, and not %q", len(heard), asked)
		}
		return nil
	})
	w.memory(hub, v1alpha1.CoreProvider, "azure")
	// Of Azure Service Operator there are the kinds alone: that is as far as it comes.
	w.eventually("it says that nobody makes a resource group", 2*time.Minute, w.saying(place, "NetworkInfrastructureReady", "False", "conversion webhook for resources.azure.com/v1api20200601, Kind=ResourceGroup failed"))
}

// knowsOurKinds brings the kinds of the provider local, which makes the control planes: nobody works on them here.
func (w *world) knowsOurKinds() {
	w.Helper()
	err := fs.WalkDir(deploy.Infrastructure, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(deploy.Infrastructure, path)
		if err != nil {
			return err
		}
		objects, err := Parse(raw)
		for _, o := range objects {
			err = errors.Join(err, w.Create(w.Context(), o))
		}
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	w.eventually("our kinds are served", time.Minute, func(ctx context.Context) error {
		all := &unstructured.UnstructuredList{}
		all.SetAPIVersion("infrastructure.umbel.dev/v1alpha1")
		all.SetKind("HostedControlPlaneTemplateList")
		return w.List(ctx, all)
	})
}

// takesTheClassOfAzure makes the class of the runbook with all that it names, and tries what is to be refused.
func (w *world) takesTheClassOfAzure() {
	w.Helper()
	root, err := programtest.Root()
	if err != nil {
		w.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(root, "examples", "azure", "class.yaml"))
	if err != nil {
		w.Fatal(err)
	}
	objects, err := Parse(raw)
	if err != nil {
		w.Fatal(err)
	}
	made := map[string]*unstructured.Unstructured{}
	for _, o := range objects {
		if err := w.Create(w.Context(), o); err != nil {
			w.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
		made[o.GetKind()] = o
	}
	for _, c := range []struct{ kind, reason, old, with, want string }{
		{"AzureClusterTemplate", "two subnets of one name", `"subnets":[`, `"subnets":[{"name":"nodes","role":"node"},`, "Duplicate value"},
		{"AzureMachineTemplate", "a key that is none", `"vmSize"`, `"sshPublicKey":"none","vmSize"`, "sshPublicKey"},
		{"AzureClusterIdentity", "an identity of a type that is none", `"type":"ServicePrincipal"`, `"type":"Nobody"`, "Unsupported value"},
	} {
		o := made[c.kind].DeepCopy()
		for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"} {
			unstructured.RemoveNestedField(o.Object, "metadata", field)
		}
		o.SetName("refused")
		text, err := o.MarshalJSON()
		if err != nil || !bytes.Contains(text, []byte(c.old)) {
			w.Fatalf("%s: nothing of %s in %s (%v)", c.reason, c.old, text, err)
		}
		if err := o.UnmarshalJSON(bytes.Replace(text, []byte(c.old), []byte(c.with), 1)); err != nil {
			w.Fatal(err)
		}
		if err := w.Create(w.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
			w.Errorf("%s: got %v, want a refusal that says %q", c.reason, err, c.want)
		}
	}
	w.eventually("a template stays what it is", busy, func(ctx context.Context) error {
		err := w.Patch(ctx, made["AzureClusterTemplate"].DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"template":{"spec":{"location":"northeurope"}}}}`)))
		if err == nil || !strings.Contains(err.Error(), "admission webhook") || !strings.Contains(err.Error(), "immutable") {
			return fmt.Errorf("a change of its region: %w", err)
		}
		return nil
	})
	if key, _, _ := unstructured.NestedString(made["AzureMachineTemplate"].Object, "spec", "template", "spec", "sshPublicKey"); key == "" {
		w.Errorf("the provider's defaults are not there: %v", made["AzureMachineTemplate"].Object["spec"])
	}
}
