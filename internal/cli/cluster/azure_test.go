package cluster

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/capi"
	"umbel.dev/umbel/internal/programtest"
)

// TestWhatAzureIsAsked takes the class of the runbook, examples/azure/class.yaml: what is asked is what that says, with the secret that it names.
func TestWhatAzureIsAsked(t *testing.T) {
	d := newDesk(t)
	kinds, err := os.ReadFile(filepath.Join("testdata", "azure.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	d.install(kinds)
	root, err := programtest.Root()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(root, "examples", "azure", "class.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := capi.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}
	if err := d.hub.Create(t.Context(), system); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	for _, o := range objects {
		d.eventually(o.GetKind()+" is there", func(ctx context.Context) error { return d.hub.Create(ctx, o) })
	}
	class := objects[len(objects)-1]
	ordered := order{wish: wish{name: "far", namespace: "default", class: "azure", workers: 2, pools: []machinePool{{Name: "more", Replicas: 3}}}, workerClass: "worker"}

	if _, err := azureQuestionOf(t.Context(), d.hub, ordered, class); err == nil || !strings.Contains(err.Error(), "reading the Secret of AzureClusterIdentity azure") {
		t.Errorf("without the Secret: %v", err)
	}
	_, said, err := d.umbel("create", "far", "--class", "azure", "--workers", "2", "--dry-run")
	if err != nil || !strings.Contains(said, "Azure was not asked whether it would take the cluster: reading the Secret") {
		t.Errorf("what cannot be found out keeps somebody from going on, or is not said: %v\n%s", err, said)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "azure"}, StringData: map[string]string{azureSecretKey: "swordfish"}}
	if err := d.hub.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	got, err := azureQuestionOf(t.Context(), d.hub, ordered, class)
	if err != nil {
		t.Fatal(err)
	}
	want := azureQuestion{
		Tenant: "11111111-1111-1111-1111-111111111111", Client: "33333333-3333-3333-3333-333333333333", Secret: "swordfish",
		Subscription: "22222222-2222-2222-2222-222222222222", Location: "westeurope", Machines: []azureMachines{{Size: "Standard_D2s_v3", Number: 5}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, said, err = d.umbel("create", "far", "--class", "azure", "--workers", "2", "--dry-run")
	if err != nil || !strings.Contains(said, "there is no umbel-azure beside umbel") {
		t.Errorf("without the program: %v\n%s", err, said)
	}
}

// TestTheAnswerOfAzure has stand-ins answer for tools/azure, whose own tests have the SDK's fake servers.
func TestTheAnswerOfAzure(t *testing.T) {
	for _, c := range []struct {
		reason, program string
		want            []string
		err             string
	}{
		{"nothing is in the way", `cat > "$0.heard"; echo {}`, nil, ""},
		{"problems", `cat > /dev/null; echo '{"problems":["no room","no rights"]}'`, []string{"no room", "no rights"}, ""},
		{"what it could not find out is no answer", `echo "Azure is away" >&2; exit 1`, nil, "umbel-azure: Azure is away"},
		{"neither is what is no JSON", `echo hello`, nil, "reading the answer of umbel-azure"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), azureProgram)
			if err := os.WriteFile(path, []byte("#!/bin/sh\n"+c.program+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			question := azureQuestion{Client: "somebody", Secret: "swordfish", Location: "westeurope"}
			got, err := question.askOf(t.Context(), path, "check")
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got error %v, want one that says %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, got.Problems); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if heard, err := os.ReadFile(path + ".heard"); err == nil {
				var asked azureQuestion
				if err := json.Unmarshal(heard, &asked); err != nil || asked.Secret != "swordfish" {
					t.Errorf("it was asked %s (%v)", heard, err)
				}
			}
		})
	}
}
