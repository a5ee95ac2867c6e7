package scrape

import (
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/metrics/edge"
	"umbel.dev/umbel/internal/metrics/request"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// sent are the series of requests, as NAME{LABELS} with their values.
func sent(t *testing.T, bodies [][]byte) map[string]float64 {
	t.Helper()
	found := map[string]float64{}
	for _, body := range bodies {
		err := request.Decode(body, func(s *request.Series) error {
			if s.Invalid != "" || len(s.Samples) != 1 {
				t.Errorf("a series with %d samples: %s", len(s.Samples), s.Invalid)
			}
			name, pairs := "", []string{}
			for i, l := range s.Labels {
				if i > 0 && s.Labels[i-1].Name >= l.Name {
					t.Errorf("labels are not sorted: %v", s.Labels)
				}
				if l.Name == "__name__" {
					name = l.Value
				} else {
					pairs = append(pairs, l.Name+"="+l.Value)
				}
			}
			key := name + "{" + strings.Join(pairs, ",") + "}"
			if _, twice := found[key]; twice {
				t.Errorf("%s is there twice", key)
			}
			found[key] = s.Samples[0].Value
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// names returns the names of series that have a label.
func names(series map[string]float64, label string) (found []string) {
	for key := range series {
		if strings.Contains(key, label) {
			found = append(found, key[:strings.Index(key, "{")])
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// TestARoundOnARealAPIServer measures an API server, and what objects in it say.
func TestARoundOnARealAPIServer(t *testing.T) {
	config := kubetest.Start(t)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	namespace := kubetest.Namespace(t, config)
	node, err := client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node.Status = corev1.NodeStatus{
		Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse}, {Type: "Odd", Status: corev1.ConditionTrue}},
		Allocatable: corev1.ResourceList{"cpu": resource.MustParse("1500m"), "memory": resource.MustParse("1Gi"), "example.com/gpu": resource.MustParse("1")},
	}
	if _, err := client.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod, err := client.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("250m"), "memory": resource.MustParse("64Mi")}}}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "c", RestartCount: 3, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
	}}
	if _, err := client.CoreV1().Pods(namespace).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}

	team, err := client.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	team.Labels[v1alpha1.TeamLabel] = "payments"
	if _, err := client.CoreV1().Namespaces().Update(t.Context(), team, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	quota, err := client.CoreV1().ResourceQuotas(namespace).Create(t.Context(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "team"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	quota.Status = corev1.ResourceQuotaStatus{Hard: corev1.ResourceList{"pods": resource.MustParse("10")}, Used: corev1.ResourceList{"pods": resource.MustParse("9")}}
	if _, err := client.CoreV1().ResourceQuotas(namespace).UpdateStatus(t.Context(), quota, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}

	measure := func(profile v1alpha1.MetricsProfile) map[string]float64 {
		var bodies [][]byte
		s, err := New(Needs{
			Config: config, Dir: t.TempDir(), Now: func() time.Time { return noon }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Put: func(body []byte) error { bodies = append(bodies, body); return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Round(t.Context(), profile); err != nil {
			t.Fatal(err)
		}
		return sent(t, bodies)
	}
	minimal, standard, full := measure(v1alpha1.MetricsMinimal), measure(v1alpha1.MetricsStandard), measure(v1alpha1.MetricsFull)
	t.Logf("%d, %d and %d series", len(minimal), len(standard), len(full))
	if len(minimal) > 60 || len(standard) > 600 || len(full) < 2*len(standard) {
		t.Errorf("%d, %d and %d series", len(minimal), len(standard), len(full))
	}
	if diff := cmp.Diff([]string{
		"apiserver_request_total", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds", "scrape_samples_scraped", "up",
	}, names(minimal, "job=apiserver")); diff != "" {
		t.Errorf("minimal, of the API server: %s", diff)
	}
	for key, want := range map[string]float64{
		"up{instance=apiserver,job=apiserver}":                                           1,
		"up{instance=objects,job=state}":                                                 1,
		"up{instance=node-1,job=kubelet-resource}":                                       0, // nothing runs there
		"kube_node_status_condition{condition=Ready,job=state,node=node-1,status=false}": 1,
		"kube_node_status_condition{condition=Ready,job=state,node=node-1,status=true}":  0,
		"kube_node_status_allocatable{job=state,node=node-1,resource=cpu,unit=core}":     1.5,
		"kube_node_status_allocatable{job=state,node=node-1,resource=memory,unit=byte}":  1 << 30,
		"umbel_requests{job=state,resource=cpu}":                                         0.25,
		"umbel_requests{job=state,resource=memory}":                                      64 << 20,
		"umbel_pods{job=state,phase=Running}":                                            1,
	} {
		if got, there := minimal[key]; !there || got != want {
			t.Errorf("minimal: %s is %v (%v), want %v", key, got, there, want)
		}
	}
	of := "container=c,job=state,namespace=" + namespace + ",pod=web"
	for key, want := range map[string]float64{
		"kube_pod_container_status_restarts_total{" + of + "}":                                                 3,
		"kube_pod_container_status_waiting_reason{" + of + ",reason=CrashLoopBackOff}":                         1,
		"umbel_pods{job=state,namespace=" + namespace + ",phase=Running}":                                      1,
		"umbel_requests{job=state,namespace=" + namespace + ",resource=cpu}":                                   0.25,
		"umbel_namespace{job=state,namespace=" + namespace + ",team=payments}":                                 1,
		"kube_resourcequota{job=state,namespace=" + namespace + ",resource=pods,resourcequota=team,type=hard}": 10,
		"kube_resourcequota{job=state,namespace=" + namespace + ",resource=pods,resourcequota=team,type=used}": 9,
	} {
		if got, there := standard[key]; !there || got != want {
			t.Errorf("standard: %s is %v (%v), want %v", key, got, there, want)
		}
	}
	if got := minimal["apiserver_request_total{code=201,instance=apiserver,job=apiserver}"]; got < 2 {
		t.Errorf("%v requests made objects, and some did", got)
	}
	for key := range minimal {
		if strings.Contains(key, "Odd") || strings.Contains(key, "gpu") || strings.Contains(key, "web") || strings.Contains(key, "quota") {
			t.Errorf("minimal has %s", key)
		}
	}
}

// TestATextIsSummedUp: what is summed up by labels is the sum, whatever comes between; what a source says of job is not its own.
func TestATextIsSummedUp(t *testing.T) {
	rules := edge.RulesOf(v1alpha1.MetricsMinimal, edge.APIServer)
	kept, err := rules.Lines(strings.NewReader(`# HELP apiserver_request_total Requests.
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",verb="GET"} 5
apiserver_request_total{code="500",verb="GET"} 1
# TYPE other gauge
other{code="200"} 7
# TYPE apiserver_request_total_more gauge
apiserver_request_total_more 7
apiserver_request_total{code="200",verb="LIST"} 6 1395066363000
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total{job="forged",instance="forged",a="b"} 2.5`))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(kept), "other") || strings.Contains(string(kept), "_more") {
		t.Errorf("kept: %s", kept)
	}
	var bodies [][]byte
	b := newBatch(func(body []byte) error { bodies = append(bodies, body); return nil }, past{})
	added, err := b.text(kept, rules, source{job: edge.APIServer, instance: "x"}, noon)
	if err != nil || added != 3 || b.flush() != nil {
		t.Fatal(added, err)
	}
	if diff := cmp.Diff(map[string]float64{
		"apiserver_request_total{code=200,instance=x,job=apiserver}": 11,
		"apiserver_request_total{code=500,instance=x,job=apiserver}": 1,
		"process_cpu_seconds_total{a=b,instance=x,job=apiserver}":    2.5,
	}, sent(t, bodies)); diff != "" {
		t.Error(diff)
	}
	if _, err := b.text([]byte("a{ 1\n"), rules, source{}, noon); err == nil {
		t.Error("what is no text of metrics is read")
	}
}

// TestWhatToMeasureIsKept: an agent that is started while the hub is away goes on.
func TestWhatToMeasureIsKept(t *testing.T) {
	dir := t.TempDir()
	again := func() *Scraper {
		s, err := New(Needs{Config: kubetest.Start(t), Dir: dir, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct {
		said string
		want v1alpha1.MetricsProfile
	}{{"Standard", v1alpha1.MetricsStandard}, {"of a later version", v1alpha1.MetricsOff}, {"Minimal", v1alpha1.MetricsMinimal}, {"Off", v1alpha1.MetricsOff}} {
		again().Tell(c.said)
		if got := again().now(); got != c.want {
			t.Errorf("after %q an agent measures %s, want %s", c.said, got, c.want)
		}
	}
}

// TestRequests: what a pod asks of a node, as a scheduler counts.
func TestRequests(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	container := func(cpu string) corev1.Container {
		return corev1.Container{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse(cpu), "memory": resource.MustParse("1Mi")}}}
	}
	beside := container("100m")
	beside.RestartPolicy = &always
	for _, c := range []struct {
		reason string
		pod    corev1.PodSpec
		want   string
	}{
		{"nothing", corev1.PodSpec{}, "0"},
		{"two containers", corev1.PodSpec{Containers: []corev1.Container{container("200m"), container("1")}}, "1200m"},
		{"one that starts with more than runs", corev1.PodSpec{InitContainers: []corev1.Container{container("2")}, Containers: []corev1.Container{container("1")}}, "2"},
		{"one beside it, before one that starts", corev1.PodSpec{InitContainers: []corev1.Container{beside, container("1")}, Containers: []corev1.Container{container("500m")}}, "1100m"},
		{"overhead", corev1.PodSpec{Containers: []corev1.Container{container("1")}, Overhead: corev1.ResourceList{"cpu": resource.MustParse("50m")}}, "1050m"},
	} {
		got := requests(&c.pod)
		if cpu := got[corev1.ResourceCPU]; cpu.Cmp(resource.MustParse(c.want)) != 0 {
			t.Errorf("%s: got %s, want %s", c.reason, cpu.String(), c.want)
		}
	}
}
