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

// cloud is an infrastructure that is asked whether it would take machines before they are ordered, and what it still has of a cluster. A program of
// its own asks it, beside umbel where somebody has put it there: its libraries are for those who have clusters there (ADR 0093).
type cloud struct {
	// name is what people call it; program asks it, and `make TARGET` builds that.
	name, program, target string
	// sign says where to ask, and as whom.
	sign func(context.Context, kube.Reader, place) (question, error)
	// machines says what those are like that are made of a template, in a zone; an empty one is what the template says.
	machines func(ctx context.Context, hub kube.Reader, template *unstructured.Unstructured, zone string) (question, error)
	// network says what else a new cluster takes, beside machines, nil where that is nothing; it is nil where that is not asked for.
	network func(place) question
	// marks says whether all that was made for a cluster carries its name there.
	marks bool
}

// clouds are those that can be asked, by the kind of their clusters.
var clouds = map[string]cloud{
	"AWSCluster":     {name: "AWS", program: "umbel-aws", target: "aws-program", sign: signInAWS, machines: machinesInAWS, network: networkInAWS, marks: true},
	"AzureCluster":   {name: "Azure", program: "umbel-azure", target: "azure-program", sign: signInAzure, machines: machinesInAzure, marks: true},
	"VSphereCluster": {name: "vSphere", program: "umbel-vsphere", target: "vsphere-program", sign: signInVSphere, machines: machinesInVSphere},
}

// cloudPatience is how long one may take to answer.
const cloudPatience = time.Minute

// question is what a program is asked, by the fields of its Question (tools/aws, tools/azure, tools/vsphere). It has secrets: it goes to the
// program's standard input, and nowhere else.
type question map[string]any

// answer is what it says.
type answer struct {
	// Problems are what the cloud would refuse, in sentences, and Unknown what it did not say, likewise.
	Problems []string `json:"problems"`
	Unknown  []string `json:"unknown"`
	// Sizes are those of the machines, in the order of the question; what is not known is 0.
	Sizes []machineSize `json:"sizes"`
	// Left are the IDs of what there is of a cluster.
	Left []string `json:"left"`
}

type machineSize struct {
	Cores     int64 `json:"cores"`
	MemoryMiB int64 `json:"memoryMiB"`
}

// place is an infrastructure cluster, or the template of one, whose clusters are in a namespace.
type place struct {
	object    *unstructured.Unstructured
	namespace string
	// spec is where it says what a cluster is to be.
	spec []string
}

func (p place) at(field ...string) string { return text(p.object, slices.Concat(p.spec, field)...) }

// identity reads what a place says that somebody signs in by: an object of its own API, of this kind.
func (p place) identity(ctx context.Context, hub kube.Reader, kind string, key kube.ObjectKey) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(p.object.GroupVersionKind().GroupVersion().WithKind(kind))
	if err := hub.Get(ctx, key, o); err != nil {
		return nil, fmt.Errorf("reading its %s: %w", kind, err)
	}
	return o, nil
}

// growth is what is to come: a cluster, or more machines of one.
type growth struct {
	// cluster is the one that is ordered, or there, with its namespace and labels, and class its ClusterClass.
	cluster *unstructured.Unstructured
	class   *unstructured.Unstructured
	// pools are how many machines come, and planes those of the control plane.
	pools  []machinePool
	planes int64
	// fresh says that the cluster is not there yet.
	fresh bool
}

// ask says what its infrastructure would refuse, nothing where that cannot be asked. What cannot be found out keeps nobody from going on, and
// is said.
func (g growth) ask(ctx context.Context, f *client.Factory, hub kube.Reader) error {
	c, known := clouds[strings.TrimSuffix(text(g.class, "spec", "infrastructure", "templateRef", "kind"), "Template")]
	if !known {
		return nil
	}
	q, numbers, err := g.question(ctx, hub, c)
	var a answer
	if err == nil {
		a, err = c.ask(ctx, "check", q)
	}
	if err != nil {
		f.Note("%s was not asked whether it would take the machines: %v", c.name, err)
		return nil
	}
	for _, one := range a.Unknown {
		f.Note("%s did not say all: %s", c.name, one)
	}
	if len(a.Problems) > 0 {
		return errors.New(strings.Join(a.Problems, "\n"))
	}
	g.estimate(ctx, f, hub, numbers, a.Sizes)
	return nil
}

// question reads what is to be asked from the templates of the class, as they are before any patch, and from the credentials that these name. It
// returns as well how many machines of each kind come, in their order.
func (g growth) question(ctx context.Context, hub kube.Reader, c cloud) (question, []int64, error) {
	template, err := referred(ctx, hub, g.class.GetNamespace(), g.class.Object, "spec", "infrastructure", "templateRef")
	if err != nil {
		return nil, nil, err
	}
	p := place{template, g.cluster.GetNamespace(), []string{"spec", "template", "spec"}}
	q, err := c.sign(ctx, hub, p)
	if err != nil {
		return nil, nil, err
	}
	if g.fresh && c.network != nil {
		if network := c.network(p); network != nil {
			q["network"] = network
		}
	}
	var machines []question
	var numbers []int64
	add := func(n int64, zone string, in map[string]any, path ...string) error {
		template, err := referred(ctx, hub, g.class.GetNamespace(), in, path...)
		if err != nil {
			return err
		}
		one, err := c.machines(ctx, hub, template, zone)
		if err != nil {
			return err
		}
		one["number"] = n
		machines, numbers = append(machines, one), append(numbers, n)
		return nil
	}
	elsewhere := []string{"spec", "controlPlane", "machineInfrastructure", "templateRef"}
	if _, has, _ := unstructured.NestedMap(g.class.Object, elsewhere...); has && g.planes > 0 {
		if err := add(g.planes, "", g.class.Object, elsewhere...); err != nil {
			return nil, nil, err
		}
	}
	for _, pool := range g.pools {
		kind, zone, err := kindOfMachines(g.class, pool)
		if err == nil && pool.Replicas > 0 {
			err = add(pool.Replicas, zone, kind, "infrastructure", "templateRef")
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if len(machines) > 0 {
		q["machines"] = machines
	}
	return q, numbers, nil
}

// kindOfMachines returns what a class says of the machines of a pool, and in which zone they are.
func kindOfMachines(class *unstructured.Unstructured, pool machinePool) (map[string]any, string, error) {
	kinds, _, _ := unstructured.NestedSlice(class.Object, "spec", "workers", "machineDeployments")
	for _, one := range kinds {
		if kind, _ := one.(map[string]any); kind["class"] == pool.Class {
			zone, _ := kind["failureDomain"].(string)
			return kind, cmp.Or(pool.Zone, zone), nil
		}
	}
	return nil, "", fmt.Errorf("class %s has no machines of class %s", class.GetName(), pool.Class)
}

// leftInClouds returns what carries the mark of a cluster in the cloud that it is in, nothing for one that is in none. It says which that is.
func leftInClouds(ctx context.Context, hub kube.Reader, cluster string, parts []unstructured.Unstructured) (string, []string, error) {
	for i := range parts {
		c, known := clouds[parts[i].GetKind()]
		if !known || !c.marks {
			continue
		}
		q, err := c.sign(ctx, hub, place{&parts[i], parts[i].GetNamespace(), []string{"spec"}})
		if err != nil {
			return c.name, nil, err
		}
		q["cluster"] = cluster
		a, err := c.ask(ctx, "left", q)
		return c.name, a.Left, err
	}
	return "", nil, nil
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

// secretOf reads a Secret of some keys, and says which it is, for people.
func secretOf(ctx context.Context, hub kube.Reader, namespace, name string, keys ...string) (values []string, from string, err error) {
	secret := &corev1.Secret{}
	if err := hub.Get(ctx, kube.ObjectKey{Namespace: namespace, Name: name}, secret); err != nil {
		return nil, "", fmt.Errorf("reading Secret %s/%s: %w", namespace, name, err)
	}
	for _, key := range keys {
		values = append(values, strings.TrimSpace(string(secret.Data[key])))
	}
	return values, fmt.Sprintf("Secret %s/%s", namespace, name), nil
}

// ask has the program beside umbel answer: check or left.
func (c cloud) ask(ctx context.Context, command string, q question) (answer, error) {
	programs, err := client.Programs()
	if err != nil {
		return answer{}, err
	}
	return c.askOf(ctx, filepath.Join(programs, c.program), command, q)
}

// askOf has a program answer.
func (c cloud) askOf(ctx context.Context, path, command string, q question) (a answer, err error) {
	raw, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	ctx, cancel := context.WithTimeout(ctx, cloudPatience)
	defer cancel()
	var said, complained bytes.Buffer
	program := exec.CommandContext(ctx, path, command)
	program.Stdin, program.Stdout, program.Stderr = bytes.NewReader(raw), &said, &complained
	err = program.Run()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return a, fmt.Errorf("there is no %s beside umbel: `make %s` builds it", c.program, c.target)
	case err != nil:
		return a, fmt.Errorf("%s: %s", c.program, cmp.Or(strings.TrimSpace(complained.String()), err.Error()))
	}
	if err := json.Unmarshal(said.Bytes(), &a); err != nil {
		return a, fmt.Errorf("reading the answer of %s: %w", c.program, err)
	}
	return a, nil
}
