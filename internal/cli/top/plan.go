package top

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/measured"
)

// usage is what something uses, as programs read it.
type usage struct {
	Cluster   v1alpha1.ClusterName `json:"cluster"`
	Namespace string               `json:"namespace,omitempty"`
	Name      string               `json:"name,omitempty"`
	// Profile is what the cluster measures.
	Profile v1alpha1.MetricsProfile `json:"profile,omitempty"`
	// CPU is in cores, Memory in bytes. Of what was not measured there is none.
	CPU    *float64 `json:"cpu,omitempty"`
	Memory *float64 `json:"memory,omitempty"`
	// CPUOf and MemoryOf are how much there is.
	CPUOf    *float64 `json:"allocatableCPU,omitempty"`
	MemoryOf *float64 `json:"allocatableMemory,omitempty"`
	Nodes    *float64 `json:"nodes,omitempty"`
	Pods     *float64 `json:"runningPods,omitempty"`
	Ready    *float64 `json:"ready,omitempty"`
}

// question is what is asked for, and where its answer goes.
type question struct {
	promql string
	into   func(*usage) **float64
}

// thing is a kind of what is shown: by which labels its series are told apart, and what is asked.
type thing struct {
	name, namespace string // labels; empty where there is none
	questions       []question
}

func cpu(u *usage) **float64      { return &u.CPU }
func memory(u *usage) **float64   { return &u.Memory }
func cpuOf(u *usage) **float64    { return &u.CPUOf }
func memoryOf(u *usage) **float64 { return &u.MemoryOf }
func nodes(u *usage) **float64    { return &u.Nodes }
func pods(u *usage) **float64     { return &u.Pods }
func ready(u *usage) **float64    { return &u.Ready }

// Of nodes the usage has the label instance, and what objects say has node: the first is made to be the second.
const (
	nodeCPU    = `label_replace(rate(node_cpu_usage_seconds_total{%[1]s}[5m]), "node", "$1", "instance", "(.*)")`
	nodeMemory = `label_replace(node_memory_working_set_bytes{%[1]s}, "node", "$1", "instance", "(.*)")`
)

var things = map[string]thing{
	"clusters": {questions: []question{
		{`sum by (cluster) (rate(node_cpu_usage_seconds_total{%[1]s}[5m]))`, cpu},
		{`sum by (cluster) (node_memory_working_set_bytes{%[1]s})`, memory},
		{`sum by (cluster) (kube_node_status_allocatable{%[1]sresource="cpu"})`, cpuOf},
		{`sum by (cluster) (kube_node_status_allocatable{%[1]sresource="memory"})`, memoryOf},
		{`count by (cluster) (kube_node_spec_unschedulable{%[1]s})`, nodes},
		{`sum by (cluster) (umbel_pods{%[1]sphase="Running"})`, pods},
	}},
	"nodes": {name: "node", questions: []question{
		{`sum by (cluster, node) (` + nodeCPU + `)`, cpu},
		{`sum by (cluster, node) (` + nodeMemory + `)`, memory},
		{`sum by (cluster, node) (kube_node_status_allocatable{%[1]sresource="cpu"})`, cpuOf},
		{`sum by (cluster, node) (kube_node_status_allocatable{%[1]sresource="memory"})`, memoryOf},
		{`sum by (cluster, node) (kube_node_status_condition{%[1]scondition="Ready",status="true"})`, ready},
	}},
	"pods": {name: "pod", namespace: "namespace", questions: []question{
		{`sum by (cluster, namespace, pod) (rate(pod_cpu_usage_seconds_total{%[1]s}[5m]))`, cpu},
		{`sum by (cluster, namespace, pod) (pod_memory_working_set_bytes{%[1]s})`, memory},
	}},
}

// matcher is what a selector of series begins with to mean these clusters and this namespace; neither is named to mean all.
func matcher(clusters []v1alpha1.ClusterName, namespace string) string {
	text := ""
	if len(clusters) > 0 {
		names := make([]string, len(clusters))
		for i, name := range clusters {
			names[i] = string(name) // a DNS label: nothing in it is more to a regular expression
		}
		text += fmt.Sprintf("cluster=~%q,", strings.Join(names, "|"))
	}
	if namespace != "" {
		text += fmt.Sprintf("namespace=%q,", namespace)
	}
	return text
}

// gather puts answers together: those to the questions of a thing, in their order. What is about clusters that are not named is left out.
// Of clusters there is a row for each.
func gather(of thing, answers [][]measured.Sample, clusters []v1alpha1.MemberCluster) []usage {
	rows := map[string]*usage{}
	profiles := map[v1alpha1.ClusterName]v1alpha1.MetricsProfile{}
	for i := range clusters {
		name := v1alpha1.ClusterName(clusters[i].Name)
		profiles[name] = clusters[i].Spec.Measures()
		if of.name == "" {
			rows[string(name)] = &usage{Cluster: name, Profile: profiles[name]}
		}
	}
	for i, samples := range answers {
		for _, s := range samples {
			cluster := v1alpha1.ClusterName(s.Labels["cluster"])
			if _, wanted := profiles[cluster]; !wanted {
				continue
			}
			key := string(cluster)
			if of.name != "" {
				key += "\x00" + s.Labels[of.namespace] + "\x00" + s.Labels[of.name]
			}
			if rows[key] == nil {
				rows[key] = &usage{Cluster: cluster, Namespace: s.Labels[of.namespace], Name: s.Labels[of.name]}
			}
			*of.questions[i].into(rows[key]) = new(s.Value)
		}
	}
	all := make([]usage, 0, len(rows))
	for _, row := range rows {
		all = append(all, *row)
	}
	return all
}

// arrange sorts rows: by usage, the most first, or by name.
func arrange(all []usage, by string) {
	value := func(u usage) float64 {
		switch amount := map[string]*float64{"cpu": u.CPU, "memory": u.Memory}[by]; amount {
		case nil:
			return -1
		default:
			return *amount
		}
	}
	slices.SortFunc(all, func(a, b usage) int {
		return cmp.Or(cmp.Compare(value(b), value(a)), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

const unknown = "<unknown>" // as kubectl top has it

func cores(amount *float64) string {
	if amount == nil {
		return unknown
	}
	return fmt.Sprintf("%dm", int64(math.Ceil(*amount*1000)))
}

func mebibytes(amount *float64) string {
	if amount == nil {
		return unknown
	}
	return fmt.Sprintf("%dMi", int64(*amount)>>20)
}

func share(amount, of *float64) string {
	if amount == nil || of == nil || *of <= 0 {
		return unknown
	}
	return fmt.Sprintf("%d%%", int64(100**amount / *of))
}

func count(amount *float64) string {
	if amount == nil {
		return unknown
	}
	return fmt.Sprint(int64(*amount))
}

func readiness(is *float64) string {
	switch {
	case is == nil:
		return unknown
	case *is > 0:
		return "True"
	}
	return "False"
}
