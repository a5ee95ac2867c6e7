package top

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

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// hub is one that has kept what agents measured in the last six minutes.
func hub(t *testing.T, told measuredtest.Told) *measured.Asker {
	t.Helper()
	return measuredtest.Hub(t, noon, 6, told, func(add measuredtest.Add, share, seconds float64) {
		for i, node := range []string{"n1", "n2"} {
			add(seconds*share*float64(i+1), "node_cpu_usage_seconds_total", "instance", node, "job", "kubelet-resource")
			add(share*(1<<30), "node_memory_working_set_bytes", "instance", node, "job", "kubelet-resource")
			add(4, "kube_node_status_allocatable", "node", node, "resource", "cpu", "unit", "core")
			add(8<<30, "kube_node_status_allocatable", "node", node, "resource", "memory", "unit", "byte")
			add(110, "kube_node_status_allocatable", "node", node, "resource", "pods", "unit", "integer")
			add(0, "kube_node_spec_unschedulable", "node", node)
			for condition, is := range map[string]float64{"Ready": float64(1 - i), "DiskPressure": 1} {
				add(is, "kube_node_status_condition", "node", node, "condition", condition, "status", "true")
				add(1-is, "kube_node_status_condition", "node", node, "condition", condition, "status", "false")
			}
		}
		for _, namespace := range []string{"shop", "kube-system"} {
			add(3, "umbel_pods", "namespace", namespace, "phase", "Running")
			add(7, "umbel_pods", "namespace", namespace, "phase", "Succeeded")
			add(seconds*share/10, "pod_cpu_usage_seconds_total", "namespace", namespace, "pod", "web", "instance", "n1")
			add(share*(256<<20), "pod_memory_working_set_bytes", "namespace", namespace, "pod", "web", "instance", "n1")
		}
	})
}

// fleet is who is asked about: prod-eu, prod-us, and dev, which measures nothing.
func fleet() []v1alpha1.MemberCluster {
	member := func(name string, profile v1alpha1.MetricsProfile) v1alpha1.MemberCluster {
		c := v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if profile != v1alpha1.MetricsOff {
			c.Spec.Metrics = &v1alpha1.MemberMetrics{Profile: profile}
		}
		return c
	}
	return []v1alpha1.MemberCluster{member("dev", v1alpha1.MetricsOff), member("prod-eu", v1alpha1.MetricsStandard), member("prod-us", v1alpha1.MetricsStandard)}
}

func TestTop(t *testing.T) {
	for _, test := range []struct {
		what string
		o    Options
		want string
	}{
		{"clusters", Options{SortBy: "cpu"}, `
CLUSTER   CPU(cores)   CPU(%)      MEMORY(bytes)   MEMORY(%)   NODES       PODS        METRICS
prod-eu   3000m        37%         2048Mi          12%         2           6           Standard
prod-us   1500m        18%         1024Mi          6%          2           6           Standard
dev       <unknown>    <unknown>   <unknown>       <unknown>   <unknown>   <unknown>   Off
`},
		{"nodes", Options{}, `
CLUSTER   NODE   READY   CPU(cores)   CPU(%)   MEMORY(bytes)   MEMORY(%)
prod-eu   n1     True    1000m        25%      1024Mi          12%
prod-eu   n2     False   2000m        50%      1024Mi          12%
prod-us   n1     True    500m         12%      512Mi           6%
prod-us   n2     False   1000m        25%      512Mi           6%
`},
		{"pods", Options{Factory: &client.Factory{Namespace: "shop"}, Clusters: "env=prod"}, `
CLUSTER   POD   CPU(cores)   MEMORY(bytes)
prod-eu   web   100m         256Mi
prod-us   web   50m          128Mi
`},
		{"pods", Options{Everywhere: true, SortBy: "memory", NoHeaders: true}, `
prod-eu   kube-system   web   100m   256Mi
prod-eu   shop          web   100m   256Mi
prod-us   kube-system   web   50m    128Mi
prod-us   shop          web   50m    128Mi
`},
	} {
		for _, told := range []measuredtest.Told{measuredtest.Everybody, measuredtest.ByName} { // who may see everything, and who may not, see the same of these clusters
			var out, errs bytes.Buffer
			o := test.o
			if o.Factory == nil {
				o.Factory = &client.Factory{}
			}
			o.What, o.Streams = test.what, output.Streams{Out: &out, Err: &errs}
			if err := o.show(t.Context(), hub(t, told), fleet()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), out.String()); diff != "" {
				t.Errorf("%s: %s", test.what, diff)
			}
			if !strings.Contains(errs.String(), "spec.metrics.profile of the MemberCluster says: dev") {
				t.Errorf("%s: %s", test.what, errs.String())
			}
		}
	}
}
