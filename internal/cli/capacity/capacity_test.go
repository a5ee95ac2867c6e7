package capacity

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/measured"
	"umbel.dev/umbel/internal/cli/measured/measuredtest"
	"umbel.dev/umbel/internal/cli/output"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// hub is one that has kept what agents measured in the last ten minutes.
func hub(t *testing.T) *measured.Asker {
	t.Helper()
	return measuredtest.Hub(t, noon, 10, measuredtest.Everybody, func(add measuredtest.Add, share, seconds float64) {
		add(8*share, "kube_node_status_allocatable", "node", "n", "resource", "cpu", "job", "state")
		add(32<<30*share, "kube_node_status_allocatable", "node", "n", "resource", "memory", "job", "state")
		add(seconds*2*share, "node_cpu_usage_seconds_total", "instance", "n", "job", "kubelet-resource")
		add(16<<30*share, "node_memory_working_set_bytes", "instance", "n", "job", "kubelet-resource")
		add(999, "node_memory_working_set_bytes", "instance", "n", "job", "pods", "namespace", "shop") // what a pod says of nodes
		for namespace, cpu := range map[string]float64{"shop": 3, "batch": 1} {
			add(cpu*share, "umbel_requests", "namespace", namespace, "resource", "cpu", "job", "state")
			add(cpu*share*(1<<30), "umbel_requests", "namespace", namespace, "resource", "memory", "job", "state")
			add(seconds*1.5*share, "pod_cpu_usage_seconds_total", "namespace", namespace, "pod", "p", "job", "kubelet-resource")
			add(share*(512<<20), "pod_memory_working_set_bytes", "namespace", namespace, "pod", "p", "job", "kubelet-resource")
		}
		add(1, "umbel_namespace", "namespace", "shop", "team", "payments", "job", "state")
	})
}

const table = `
currency: EUR
prices:
  - clusterSelector: {matchLabels: {region: eu}}
    cpuHour: 0.02
    memoryGiBHour: 0.005
  - clusterSelector: {}
    cpuHour: 0.01
    memoryGiBHour: 0
`

func TestCapacity(t *testing.T) {
	fleet := []v1alpha1.MemberCluster{
		{ObjectMeta: metav1.ObjectMeta{Name: "prod-eu", Labels: map[string]string{"region": "eu"}}}, {ObjectMeta: metav1.ObjectMeta{Name: "prod-us"}}, {ObjectMeta: metav1.ObjectMeta{Name: "dev"}},
	}
	dear, err := readPrices(table)
	if err != nil {
		t.Fatal(err)
	}
	// A month of prod-eu: 730 h x (8 cores x 0.02 + 32 GiB x 0.005) = 233.60; of shop there: 730 x (3 x 0.02 + 3 x 0.005) = 54.75.
	for _, c := range []struct {
		by     By
		prices *prices
		want   string
	}{
		{Clusters, dear, `
CLUSTER   CPU    REQUESTED    USED         MEMORY   REQUESTED     USED           COST/MONTH
prod-eu   8.00   4.00 (50%)   2.00 (25%)   32.0Gi   4.0Gi (12%)   16.0Gi (50%)   233.60 EUR
prod-us   4.00   2.00 (50%)   1.00 (25%)   16.0Gi   2.0Gi (12%)   8.0Gi (50%)    29.20 EUR
`},
		{Namespaces, dear, `
CLUSTER   NAMESPACE   TEAM       CPU REQUESTED   USED   MEMORY REQUESTED   USED    COST/MONTH
prod-eu   shop        payments   3.00            1.50   3.0Gi              0.5Gi   54.75 EUR
prod-eu   batch       -          1.00            1.50   1.0Gi              0.5Gi   25.55 EUR
prod-us   shop        payments   1.50            0.75   1.5Gi              0.2Gi   10.95 EUR
prod-us   batch       -          0.50            0.75   0.5Gi              0.2Gi   5.47 EUR
`},
		{Teams, dear, `
TEAM       CPU REQUESTED   USED   MEMORY REQUESTED   USED    COST/MONTH
payments   4.50            2.25   4.5Gi              0.8Gi   65.70 EUR
<none>     1.50            2.25   1.5Gi              0.8Gi   31.02 EUR
`},
		{Teams, nil, `
TEAM       CPU REQUESTED   USED   MEMORY REQUESTED   USED
payments   4.50            2.25   4.5Gi              0.8Gi
<none>     1.50            2.25   1.5Gi              0.8Gi
`},
	} {
		var out, errs bytes.Buffer
		o := Options{Factory: &client.Factory{Streams: output.Streams{Out: &out, Err: &errs}}, By: c.by, Over: 10 * time.Minute}
		if err := o.show(t.Context(), hub(t), fleet, c.prices); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), out.String()); diff != "" || errs.Len() > 0 {
			t.Errorf("%s: %s%s", c.by, diff, errs.String())
		}
	}
}

func TestPricesThatCannotBeRead(t *testing.T) {
	for text, want := range map[string]string{
		"prices: [{cpu: 1}]":      `unknown field "cpu"`,
		"prices: [{cpuHour: -1}]": "prices[0]: a price is not negative",
		"prices: [{clusterSelector: {matchExpressions: [{key: a, operator: Near}]}}]": "prices[0].clusterSelector: ",
	} {
		if _, err := readPrices(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
