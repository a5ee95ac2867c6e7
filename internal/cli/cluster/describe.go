package cluster

import (
	"context"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
)

func newDescribeCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "describe NAME",
		Short:             "Show what a cluster is made of, and how each part does",
		Long:              "Show what a cluster is made of, as a tree: control plane, pools, machines, and its place in the fleet; and how each part does.",
		Example:           "  umbel cluster describe dev\n\n  # one that another management cluster makes\n  umbel cluster describe shop-us -n clusters --kubeconfig management.kubeconfig",
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error {
				root, err := grow(ctx, hub, kube.ObjectKey{Namespace: f.Namespace, Name: args[0]})
				if err != nil {
					return err
				}
				return root.write(f.Out)
			})
		},
	}
	f.AddNamespaceFlag(cmd)
	return cmd
}

// node is a part of a cluster.
type node struct {
	name     string
	state    string
	message  string
	children []*node
}

// write draws the tree: a line for each part, what it is, how it does, and why.
func (n *node) write(out io.Writer) error {
	var b strings.Builder
	width := n.width(0)
	n.draw(&b, "", "", width)
	_, err := io.WriteString(out, b.String())
	return err
}

func (n *node) width(depth int) int {
	widest := 3*depth + len(n.name)
	for _, c := range n.children {
		widest = max(widest, c.width(depth+1))
	}
	return widest
}

func (n *node) draw(b *strings.Builder, first, rest string, width int) {
	line := fmt.Sprintf("%s%s", first, n.name)
	pad := strings.Repeat(" ", max(0, width-len([]rune(line))))
	fmt.Fprintln(b, strings.TrimRight(fmt.Sprintf("%s%s   %-12s %s", line, pad, n.state, n.message), " "))
	for i, c := range n.children {
		if i == len(n.children)-1 {
			c.draw(b, rest+"└─ ", rest+"   ", width)
			continue
		}
		c.draw(b, rest+"├─ ", rest+"│  ", width)
	}
}

// grow reads a cluster and what it is made of.
func grow(ctx context.Context, hub kube.Reader, key kube.ObjectKey) (*node, error) {
	cluster, err := find(ctx, hub, key)
	if err != nil {
		return nil, err
	}
	of := []kube.ListOption{kube.InNamespace(key.Namespace), kube.MatchingLabels{"cluster.x-k8s.io/cluster-name": key.Name}}
	deployments, err := list(ctx, hub, kind("MachineDeployment"), of...)
	if err != nil {
		return nil, err
	}
	machines, err := list(ctx, hub, kind("Machine"), of...)
	if err != nil {
		return nil, err
	}
	checks, err := list(ctx, hub, kind("MachineHealthCheck"), of...)
	if err != nil {
		return nil, err
	}
	root := clusterNode(cluster)
	for _, part := range []struct{ ref, condition string }{{"infrastructureRef", "Ready"}, {"controlPlaneRef", "Available"}} {
		n, err := refNode(ctx, hub, cluster, part.ref, part.condition)
		if err != nil {
			return nil, err
		}
		if n != nil {
			root.children = append(root.children, n)
		}
	}
	parts := map[string]*node{}
	for _, m := range machines {
		if parts[m.GetName()], err = madeOf(ctx, hub, &m); err != nil {
			return nil, err
		}
	}
	root.children = append(root.children, workerNodes(deployments, machines, checks, parts, zonesOf(cluster))...)
	member := &v1alpha1.MemberCluster{}
	err = hub.Get(ctx, kube.ObjectKey{Name: key.Name}, member)
	if kube.IgnoreNotFound(err) != nil && !meta.IsNoMatchError(err) { // a management cluster that is no hub knows no members
		return nil, err
	}
	if member.Annotations[v1alpha1.ManagedAnnotation] == key.Namespace+"/"+key.Name {
		root.children = append(root.children, memberNode(member))
	}
	return root, nil
}

func clusterNode(c *unstructured.Unstructured) *node {
	available := conditionOf(c, "Available")
	n := &node{name: "Cluster " + c.GetNamespace() + "/" + c.GetName(), state: text(c, "status", "phase"), message: available.message}
	if available.status == "True" {
		n.state, n.message = "Available", fmt.Sprintf("Kubernetes %s, class %s", text(c, "spec", "topology", "version"), text(c, "spec", "topology", "classRef", "name"))
	}
	if v1alpha1.Hibernated(c.GetAnnotations()) { // Cluster API is paused, and says of it what was so before
		n.state, n.message = "Hibernated", asleep(c)
	}
	if c.GetDeletionTimestamp() != nil {
		n.state, n.message = "Deleting", blocked(c)
	}
	return n
}

// refNode returns what a Cluster refers to, nil when it refers to nothing yet.
func refNode(ctx context.Context, hub kube.Reader, c *unstructured.Unstructured, ref, saying string) (*node, error) {
	kindName, name := text(c, "spec", ref, "kind"), text(c, "spec", ref, "name")
	if name == "" {
		return nil, nil
	}
	o := &unstructured.Unstructured{}
	group := text(c, "spec", ref, "apiGroup")
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: versionOf(ctx, hub, group, kindName), Kind: kindName})
	err := hub.Get(ctx, kube.ObjectKey{Namespace: c.GetNamespace(), Name: name}, o)
	if kube.IgnoreNotFound(err) != nil && !meta.IsNoMatchError(err) {
		return nil, err
	}
	if err != nil {
		return &node{name: kindName + " " + name, state: "Missing"}, nil
	}
	said := fullyOf(o, saying)
	return &node{name: kindName + " " + name, state: stateOf(o, saying, said.status), message: said.message, children: memberNodes(o)}, nil
}

// fullyOf returns a condition with the reason that only the contract before has room for, where a provider gives it there. A provider that
// knows no other contract only counts in the one that sums up, and that has the reason of the one which says why.
func fullyOf(o *unstructured.Unstructured, name string) condition {
	now, before := conditionOf(o, name), formerly(o, name)
	if now.status == "False" && before.status == "False" && !strings.Contains(now.message, before.message) {
		now.message = before.message
	}
	if now.status == "True" || !counted.MatchString(now.message) {
		return now
	}
	all, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, one := range all {
		c, _ := one.(map[string]any)
		kind, _ := c["type"].(string)
		if why := conditionOf(o, kind); kind != name && why.status == now.status && why.reason == now.reason && why.message != "" {
			now.message = why.message
		}
	}
	return now
}

// counted is what a condition says that only counts those which it sums up.
var counted = regexp.MustCompile(`^\d+ of \d+ completed$`)

// madeOf returns what a machine is made of while that is not ready and says more of it than the machine does; nil otherwise.
func madeOf(ctx context.Context, hub kube.Reader, machine *unstructured.Unstructured) (*node, error) {
	if conditionOf(machine, "InfrastructureReady").status == "True" {
		return nil, nil
	}
	n, err := refNode(ctx, hub, machine, "infrastructureRef", "Ready")
	if err != nil || n == nil || strings.Contains(conditionOf(machine, "Ready").message, n.message) {
		return nil, err
	}
	return n, nil
}

// memberNodes are the members of a control plane that says who they are, where there are several.
func memberNodes(plane *unstructured.Unstructured) []*node {
	members, _, _ := unstructured.NestedSlice(plane.Object, "status", "members")
	if len(members) < 2 {
		return nil
	}
	var all []*node
	for _, one := range members {
		m, _ := one.(map[string]any)
		name, _ := m["name"].(string)
		n := &node{name: "member " + name, state: "NotReady"}
		n.message, _ = m["message"].(string)
		if ready, _ := m["ready"].(bool); ready {
			n.state = "Ready"
			n.message, _ = m["address"].(string)
		}
		all = append(all, n)
	}
	return all
}

// versionOf returns the version of a provider's kind that keeps the newest contract, as its CRD says.
func versionOf(ctx context.Context, hub kube.Reader, group, kindName string) string {
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	plural, _ := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Group: group, Version: "v1", Kind: kindName})
	if hub.Get(ctx, kube.ObjectKey{Name: plural.Resource + "." + group}, crd) == nil {
		for _, contract := range []string{"cluster.x-k8s.io/v1beta2", "cluster.x-k8s.io/v1beta1"} {
			if versions := strings.Split(crd.GetLabels()[contract], "_"); versions[0] != "" {
				return versions[len(versions)-1]
			}
		}
	}
	return "v1beta2"
}

func stateOf(o *unstructured.Unstructured, saying, status string) string {
	switch {
	case o.GetDeletionTimestamp() != nil:
		return "Deleting"
	case status == "True":
		return saying
	}
	return "Not" + saying
}

// workerNodes returns the pools with their machines, of which some are made of parts that have something to say, by the machine's name. The zones
// are those that the cluster's infrastructure says it has.
func workerNodes(deployments, machines, checks []unstructured.Unstructured, parts map[string]*node, zones []string) []*node {
	var nodes []*node
	for _, d := range deployments {
		n := &node{
			name:  "MachineDeployment " + d.GetName(),
			state: fmt.Sprintf("%d/%d", number(&d, "status", "availableReplicas"), number(&d, "spec", "replicas")),
		}
		n.message = poolNote(&d, zones)
		if c := conditionOf(&d, "Available"); c.status != "True" && c.message != "" {
			n.message = strings.TrimPrefix(n.message+"; "+c.message, "; ")
		}
		for _, m := range machines {
			if m.GetLabels()["cluster.x-k8s.io/deployment-name"] == d.GetName() {
				n.children = append(n.children, machineNode(&m, parts[m.GetName()]))
			}
		}
		for _, check := range checks {
			if check.GetName() == d.GetName() { // topologies call it like that
				n.children = append(n.children, checkNode(&check))
			}
		}
		nodes = append(nodes, n)
	}
	for _, m := range machines {
		if m.GetLabels()["cluster.x-k8s.io/deployment-name"] == "" {
			nodes = append(nodes, machineNode(&m, parts[m.GetName()]))
		}
	}
	return nodes
}

// poolNote is where the machines of a pool are, and what their nodes have that pods look at.
func poolNote(deployment *unstructured.Unstructured, zones []string) string {
	var notes []string
	if f := followsOf(deployment.GetAnnotations()); f != nil {
		notes = append(notes, fmt.Sprintf("%d to %d machines, as the pods need", f.Min, f.Max))
	}
	if zone := text(deployment, "spec", "template", "spec", "failureDomain"); zone != "" {
		if len(zones) > 0 && !slices.Contains(zones, zone) {
			zone += ", which is not there or not ready: its infrastructure has " + strings.Join(zones, ", ")
		}
		notes = append(notes, "zone "+zone)
	}
	labels, _, _ := unstructured.NestedStringMap(deployment.Object, "spec", "template", "metadata", "labels")
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if v1alpha1.ReachesNodes(key) {
			notes = append(notes, key+"="+labels[key])
		}
	}
	taints, _, _ := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "taints")
	for _, t := range taintsOf(taints) {
		notes = append(notes, "taint "+t.String())
	}
	return strings.Join(notes, ", ")
}

func machineNode(m *unstructured.Unstructured, part *node) *node {
	n := &node{name: "Machine " + m.GetName(), state: text(m, "status", "phase")}
	if part != nil {
		n.children = append(n.children, part)
	}
	if c := conditionOf(m, "Ready"); c.status != "True" {
		n.message = c.message
	}
	if c := conditionOf(m, "Deleting"); c.status == "True" {
		n.message = c.message
	}
	if ill := conditionOf(m, "HealthCheckSucceeded"); ill.status == "False" {
		n.state, n.message = mending(m, ill.message)
	}
	return n
}

// mending says of a machine that its health check calls ill whether it is being replaced, and why.
func mending(m *unstructured.Unstructured, ill string) (state, message string) {
	infrastructure := conditionOf(m, "InfrastructureReady")
	if infrastructure.status == "False" && infrastructure.message != "" {
		ill += " (" + infrastructure.message + ")"
	}
	replaced := conditionOf(m, "OwnerRemediated")
	switch {
	case m.GetDeletionTimestamp() != nil:
		return "Replaced", "it is taken away, and another one takes its place: " + ill
	case replaced.status == "False":
		return "Ill", "it is to be replaced (" + replaced.message + "): " + ill
	}
	return "Ill", "it is not being replaced: " + ill
}

// checkNode says how many machines of a pool are well, and whether those that are not are replaced.
func checkNode(check *unstructured.Unstructured) *node {
	n := &node{
		name:  "MachineHealthCheck " + check.GetName(),
		state: fmt.Sprintf("%d/%d", number(check, "status", "currentHealthy"), number(check, "status", "expectedMachines")),
	}
	ill := number(check, "status", "currentHealthy") < number(check, "status", "expectedMachines")
	if c := conditionOf(check, "RemediationAllowed"); c.status == "False" && ill {
		n.message = "nothing is replaced: " + c.message + "; mend what ails them all, or delete their Machines one by one, and each is made anew"
	}
	return n
}

func memberNode(member *v1alpha1.MemberCluster) *node {
	n := &node{name: "MemberCluster " + member.Name, state: "NotConnected"}
	if c := meta.FindStatusCondition(member.Status.Conditions, v1alpha1.ConditionConnected); c != nil {
		n.message = c.Message
		if c.Status == "True" {
			n.state = "Connected"
		}
	}
	return n
}
