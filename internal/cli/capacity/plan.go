package capacity

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/measured"
)

// By is by what is added up.
type By string

// What there is to add up by.
const (
	Clusters   By = "clusters"
	Namespaces By = "namespaces"
	Teams      By = "teams"
)

// Row is what is requested and used, as programs read it. Cores and bytes; of what was not measured there is none.
type Row struct {
	Cluster   v1alpha1.ClusterName `json:"cluster,omitempty"`
	Namespace string               `json:"namespace,omitempty"`
	Team      string               `json:"team,omitempty"`

	CPURequested *float64 `json:"cpuRequested,omitempty"`
	CPUUsed      *float64 `json:"cpuUsed,omitempty"`
	CPUOf        *float64 `json:"cpuAllocatable,omitempty"`

	MemoryRequested *float64 `json:"memoryRequested,omitempty"`
	MemoryUsed      *float64 `json:"memoryUsed,omitempty"`
	MemoryOf        *float64 `json:"memoryAllocatable,omitempty"`

	// Cost is for a month of 730 hours, in the currency of the prices.
	Cost     *float64 `json:"costPerMonth,omitempty"`
	Currency string   `json:"currency,omitempty"`
}

// Add adds what another row has of it.
func (r *Row) Add(n *Row) {
	for _, pair := range [][2]**float64{
		{&r.CPURequested, &n.CPURequested}, {&r.CPUUsed, &n.CPUUsed}, {&r.CPUOf, &n.CPUOf},
		{&r.MemoryRequested, &n.MemoryRequested}, {&r.MemoryUsed, &n.MemoryUsed}, {&r.MemoryOf, &n.MemoryOf}, {&r.Cost, &n.Cost},
	} {
		if *pair[1] == nil {
			continue
		}
		if *pair[0] == nil {
			*pair[0] = new(float64)
		}
		**pair[0] += **pair[1]
	}
	r.Currency = cmp.Or(r.Currency, n.Currency)
}

// question is what is asked for, and where its answer goes.
type question struct {
	promql string
	into   func(*Row) **float64
}

func cpuRequested(r *Row) **float64    { return &r.CPURequested }
func cpuUsed(r *Row) **float64         { return &r.CPUUsed }
func cpuOf(r *Row) **float64           { return &r.CPUOf }
func memoryRequested(r *Row) **float64 { return &r.MemoryRequested }
func memoryUsed(r *Row) **float64      { return &r.MemoryUsed }
func memoryOf(r *Row) **float64        { return &r.MemoryOf }

// questions are asked over a time (%s), of clusters as a whole or of namespaces.
var questions = map[bool][]question{
	false: {
		{`sum by (cluster) (avg_over_time(umbel_requests{resource="cpu"}[%s]))`, cpuRequested},
		{`sum by (cluster) (avg_over_time(umbel_requests{resource="memory"}[%s]))`, memoryRequested},
		{`sum by (cluster) (rate(node_cpu_usage_seconds_total{job="kubelet-resource"}[%s]))`, cpuUsed},
		{`sum by (cluster) (avg_over_time(node_memory_working_set_bytes{job="kubelet-resource"}[%s]))`, memoryUsed},
		{`sum by (cluster) (avg_over_time(kube_node_status_allocatable{job="state",resource="cpu"}[%s]))`, cpuOf},
		{`sum by (cluster) (avg_over_time(kube_node_status_allocatable{job="state",resource="memory"}[%s]))`, memoryOf},
	},
	true: {
		{`sum by (cluster, namespace) (avg_over_time(umbel_requests{resource="cpu"}[%s]))`, cpuRequested},
		{`sum by (cluster, namespace) (avg_over_time(umbel_requests{resource="memory"}[%s]))`, memoryRequested},
		{`sum by (cluster, namespace) (rate(pod_cpu_usage_seconds_total{job="kubelet-resource"}[%s]))`, cpuUsed},
		{`sum by (cluster, namespace) (avg_over_time(pod_memory_working_set_bytes{job="kubelet-resource"}[%s]))`, memoryUsed},
	},
}

// teamsQuestion says whose namespaces are.
const teamsQuestion = `max by (cluster, namespace, team) (umbel_namespace)`

// gather puts answers together, those to the questions in their order. What is about clusters that are not named is left out.
func gather(asked []question, answers [][]measured.Sample, teams []measured.Sample, clusters []v1alpha1.MemberCluster) []Row {
	known, owner := map[string]bool{}, map[string]string{}
	for i := range clusters {
		known[clusters[i].Name] = true
	}
	for _, s := range teams {
		owner[s.Labels["cluster"]+"/"+s.Labels["namespace"]] = s.Labels["team"]
	}
	rows, order := map[string]*Row{}, []string{}
	for i, samples := range answers {
		for _, s := range samples {
			cluster, namespace := s.Labels["cluster"], s.Labels["namespace"]
			if !known[cluster] {
				continue
			}
			key := cluster + "/" + namespace
			if rows[key] == nil {
				rows[key] = &Row{Cluster: v1alpha1.ClusterName(cluster), Namespace: namespace, Team: owner[key]}
				order = append(order, key)
			}
			*asked[i].into(rows[key]) = new(s.Value)
		}
	}
	all := make([]Row, 0, len(rows))
	for _, key := range order {
		all = append(all, *rows[key])
	}
	return all
}

// byTeam adds rows of namespaces up. What is nobody's is a row too.
func byTeam(namespaces []Row) []Row {
	of := map[string]*Row{}
	for i := range namespaces {
		n := &namespaces[i]
		t := of[n.Team]
		if t == nil {
			t = &Row{Team: n.Team, Currency: n.Currency}
			of[n.Team] = t
		}
		t.Add(n)
	}
	all := make([]Row, 0, len(of))
	for _, t := range of {
		all = append(all, *t)
	}
	return all
}

// prices is the table, as people write it.
type prices struct {
	// Currency is what costs are shown in.
	Currency string `json:"currency"`
	// Prices are for clusters with some labels; the first that fits counts.
	Prices []price `json:"prices"`
}

type price struct {
	ClusterSelector metav1.LabelSelector `json:"clusterSelector"`
	// CPUHour is for a core, MemoryGiBHour for a GiB.
	CPUHour       float64 `json:"cpuHour"`
	MemoryGiBHour float64 `json:"memoryGiBHour"`

	selector labels.Selector
}

// readPrices reads a table.
func readPrices(text string) (*prices, error) {
	p := &prices{}
	if err := yaml.UnmarshalStrict([]byte(text), p); err != nil {
		return nil, err
	}
	for i := range p.Prices {
		selector, err := metav1.LabelSelectorAsSelector(&p.Prices[i].ClusterSelector)
		if err != nil {
			return nil, fmt.Errorf("prices[%d].clusterSelector: %w", i, err)
		}
		if p.Prices[i].CPUHour < 0 || p.Prices[i].MemoryGiBHour < 0 {
			return nil, fmt.Errorf("prices[%d]: a price is not negative", i)
		}
		p.Prices[i].selector = selector
	}
	return p, nil
}

// MonthHours is how many hours a month has.
const MonthHours = 730

// of returns the price for a cluster with these labels, nil without one.
func (p *prices) of(has map[string]string) *price {
	at := slices.IndexFunc(p.Prices, func(one price) bool { return one.selector.Matches(labels.Set(has)) })
	if at < 0 {
		return nil
	}
	return &p.Prices[at]
}

// month is what so many cores and bytes of memory cost a month.
func (p *price) month(cores, memory float64) float64 {
	return (cores*p.CPUHour + memory/(1<<30)*p.MemoryGiBHour) * MonthHours
}

// cost puts prices to rows: of a cluster as a whole what it has, of a namespace what it requests or uses, whichever is more.
func (p *prices) cost(rows []Row, clusters []v1alpha1.MemberCluster) {
	of := map[v1alpha1.ClusterName]*price{}
	for i := range clusters {
		of[v1alpha1.ClusterName(clusters[i].Name)] = p.of(clusters[i].Labels)
	}
	for i := range rows {
		r := &rows[i]
		at := of[r.Cluster]
		cpu, memory := more(r.CPURequested, r.CPUUsed), more(r.MemoryRequested, r.MemoryUsed)
		if r.Namespace == "" {
			cpu, memory = r.CPUOf, r.MemoryOf
		}
		if at == nil || cpu == nil || memory == nil {
			continue
		}
		r.Cost, r.Currency = new(at.month(*cpu, *memory)), p.Currency
	}
}

func more(a, b *float64) *float64 {
	switch {
	case a == nil:
		return b
	case b == nil || *a > *b:
		return a
	}
	return b
}

// arrange sorts rows: by cost where there is one, then by what is requested of processors, the most first, then by name.
func arrange(rows []Row) {
	value := func(p *float64) float64 {
		if p == nil {
			return -1
		}
		return *p
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(value(b.Cost), value(a.Cost)), cmp.Compare(value(b.CPURequested), value(a.CPURequested)),
			cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Team, b.Team))
	})
}
