package cluster

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/internal/cli/client"
)

const (
	// azureProgram asks Azure (tools/azure). It is a program of its own, beside umbel where somebody has put it there: Azure's libraries are for
	// those who have clusters there.
	azureProgram = "umbel-azure"
	// azurePatience is how long it may take to answer.
	azurePatience = time.Minute
	// azureSecretKey is where CAPZ has the secret of an application.
	azureSecretKey = "clientSecret"
)

// azureQuestion is what it is asked, and azureAnswer what it says; tools/azure describes both.
type azureQuestion struct {
	Cloud        string          `json:"cloud,omitempty"`
	Tenant       string          `json:"tenant"`
	Client       string          `json:"client"`
	Secret       string          `json:"secret"`
	Subscription string          `json:"subscription"`
	Location     string          `json:"location,omitempty"`
	Machines     []azureMachines `json:"machines,omitempty"`
	Cluster      string          `json:"cluster,omitempty"`
}

type azureMachines struct {
	Size   string `json:"size"`
	Number int64  `json:"number"`
}

type azureAnswer struct {
	Problems []string `json:"problems"`
	Left     []string `json:"left"`
}

// askAzure says what Azure would refuse of a cluster, nothing for one that is not to be there. What cannot be found out keeps nobody from going on,
// and is said.
func (o *createOptions) askAzure(ctx context.Context, hub kube.Reader, ordered order, classes []unstructured.Unstructured) error {
	class, err := chooseClass(ordered.wish, classes)
	if err != nil {
		return err
	}
	if text(class, "spec", "infrastructure", "templateRef", "kind") != "AzureClusterTemplate" {
		return nil
	}
	question, err := azureQuestionOf(ctx, hub, ordered, class)
	var answer azureAnswer
	if err == nil {
		answer, err = question.ask(ctx, "check")
	}
	if err != nil {
		o.Note("Azure was not asked whether it would take the cluster: %v", err)
		return nil
	}
	if len(answer.Problems) > 0 {
		return errors.New(strings.Join(answer.Problems, "\n"))
	}
	return nil
}

// azureQuestionOf reads what Azure is to be asked about a cluster from the templates of its class, as they are before any patch, and from the
// credentials that these name.
func azureQuestionOf(ctx context.Context, hub kube.Reader, ordered order, class *unstructured.Unstructured) (q azureQuestion, err error) {
	template, err := referred(ctx, hub, class.GetNamespace(), class.Object, "spec", "infrastructure", "templateRef")
	if err != nil {
		return q, err
	}
	if err := q.sign(ctx, hub, template, ordered.namespace, "spec", "template", "spec"); err != nil {
		return q, err
	}
	q.Machines, err = azureMachinesOf(ctx, hub, ordered, class)
	return q, err
}

// leftInAzure returns what carries the mark of a cluster in Azure, nothing for one that is not there.
func leftInAzure(ctx context.Context, hub kube.Reader, cluster string, parts []unstructured.Unstructured) ([]string, error) {
	i := slices.IndexFunc(parts, func(o unstructured.Unstructured) bool { return o.GetKind() == "AzureCluster" })
	if i < 0 {
		return nil, nil
	}
	q := azureQuestion{Cluster: cluster}
	if err := q.sign(ctx, hub, &parts[i], parts[i].GetNamespace(), "spec"); err != nil {
		return nil, err
	}
	answer, err := q.ask(ctx, "left")
	return answer.Left, err
}

// sign fills in where to ask and as whom, as an AzureCluster of a namespace, or its template, has it at a path.
func (q *azureQuestion) sign(ctx context.Context, hub kube.Reader, of *unstructured.Unstructured, namespace string, path ...string) error {
	at := func(field ...string) string { return text(of, slices.Concat(path, field)...) }
	q.Cloud, q.Subscription, q.Location = at("azureEnvironment"), at("subscriptionID"), at("location")
	identity := &unstructured.Unstructured{}
	identity.SetGroupVersionKind(of.GroupVersionKind().GroupVersion().WithKind("AzureClusterIdentity"))
	key := kube.ObjectKey{Namespace: cmp.Or(at("identityRef", "namespace"), namespace), Name: at("identityRef", "name")}
	if err := hub.Get(ctx, key, identity); err != nil {
		return fmt.Errorf("reading its AzureClusterIdentity: %w", err)
	}
	if kind := text(identity, "spec", "type"); kind != "ServicePrincipal" {
		return fmt.Errorf("AzureClusterIdentity %s/%s is of type %s, whose credentials are not on the hub", key.Namespace, key.Name, kind)
	}
	q.Tenant, q.Client = text(identity, "spec", "tenantID"), text(identity, "spec", "clientID")
	secret := &corev1.Secret{}
	key = kube.ObjectKey{Namespace: text(identity, "spec", "clientSecret", "namespace"), Name: text(identity, "spec", "clientSecret", "name")}
	if err := hub.Get(ctx, key, secret); err != nil {
		return fmt.Errorf("reading the Secret of AzureClusterIdentity %s: %w", identity.GetName(), err)
	}
	q.Secret = string(secret.Data[azureSecretKey])
	return nil
}

// azureMachinesOf returns how many machines of which size a cluster is to have.
func azureMachinesOf(ctx context.Context, hub kube.Reader, ordered order, class *unstructured.Unstructured) ([]azureMachines, error) {
	if ordered.machines() == 0 {
		return nil, nil
	}
	kinds, _, _ := unstructured.NestedSlice(class.Object, "spec", "workers", "machineDeployments")
	i := slices.IndexFunc(kinds, func(one any) bool {
		c, _ := one.(map[string]any)
		return c["class"] == ordered.workerClass
	})
	if i < 0 {
		return nil, fmt.Errorf("class %s has no machines of class %s", class.GetName(), ordered.workerClass)
	}
	machine, _ := kinds[i].(map[string]any)
	template, err := referred(ctx, hub, class.GetNamespace(), machine, "infrastructure", "templateRef")
	if err != nil {
		return nil, err
	}
	return []azureMachines{{Size: text(template, "spec", "template", "spec", "vmSize"), Number: ordered.machines()}}, nil
}

// referred reads what a class refers to.
func referred(ctx context.Context, hub kube.Reader, namespace string, in map[string]any, path ...string) (*unstructured.Unstructured, error) {
	ref, _, _ := unstructured.NestedStringMap(in, path...)
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.FromAPIVersionAndKind(ref["apiVersion"], ref["kind"]))
	if err := hub.Get(ctx, kube.ObjectKey{Namespace: namespace, Name: ref["name"]}, o); err != nil {
		return nil, fmt.Errorf("reading the %s of its class: %w", ref["kind"], err)
	}
	return o, nil
}

// ask has the program beside umbel answer the question: check or left.
func (q *azureQuestion) ask(ctx context.Context, command string) (azureAnswer, error) {
	programs, err := client.Programs()
	if err != nil {
		return azureAnswer{}, err
	}
	return q.askOf(ctx, filepath.Join(programs, azureProgram), command)
}

// askOf has a program answer it. It has a secret, and so goes neither into arguments nor into the environment.
func (q *azureQuestion) askOf(ctx context.Context, path, command string) (a azureAnswer, err error) {
	raw, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	ctx, cancel := context.WithTimeout(ctx, azurePatience)
	defer cancel()
	var said, complained bytes.Buffer
	program := exec.CommandContext(ctx, path, command)
	program.Stdin, program.Stdout, program.Stderr = bytes.NewReader(raw), &said, &complained
	err = program.Run()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return a, fmt.Errorf("there is no %s beside umbel: `make azure-program` builds it", azureProgram)
	case err != nil:
		return a, fmt.Errorf("%s: %s", azureProgram, cmp.Or(strings.TrimSpace(complained.String()), err.Error()))
	}
	if err := json.Unmarshal(said.Bytes(), &a); err != nil {
		return a, fmt.Errorf("reading the answer of %s: %w", azureProgram, err)
	}
	return a, nil
}
