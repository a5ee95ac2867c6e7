package edge

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
)

// Job is a kind of source, and the label job of its series.
type Job string

// The jobs.
const (
	// APIServer is the member's API server.
	APIServer Job = "apiserver"
	// Kubelet is /metrics of a kubelet, Resource what it says of the usage of its node and pods, and CAdvisor of its containers.
	Kubelet  Job = "kubelet"
	Resource Job = "kubelet-resource"
	CAdvisor Job = "cadvisor"
	// State is what objects say, as the agent reads them.
	State Job = "state"
)

// nodeJobs are those that each node is asked for.
var nodeJobs = []Job{Resource, Kubelet, CAdvisor}

// Path is where a job's metrics are, at the API server or at the kubelet.
func (j Job) Path() string {
	return map[Job]string{APIServer: "/metrics", Kubelet: "/metrics", Resource: "/metrics/resource", CAdvisor: "/metrics/cadvisor"}[j]
}

// Every is how often a profile measures.
func Every(profile v1alpha1.MetricsProfile) time.Duration {
	if profile == v1alpha1.MetricsMinimal {
		return time.Minute
	}
	return 30 * time.Second
}

// NodeJobs are what a profile asks of each node.
func NodeJobs(profile v1alpha1.MetricsProfile) []Job {
	switch profile {
	case v1alpha1.MetricsMinimal:
		return nodeJobs[:1]
	case v1alpha1.MetricsStandard, v1alpha1.MetricsFull:
		return nodeJobs
	}
	return nil
}

// Rules say what is kept of a job.
type Rules struct {
	all bool
	// by has the metrics that are kept. Those with labels are summed up by them.
	by map[string][]string
}

// all of a metric, as it is.
var whole []string

var minimal = map[Job]map[string][]string{
	APIServer: {
		"apiserver_request_total": {"code"}, "process_cpu_seconds_total": whole, "process_resident_memory_bytes": whole,
		"process_start_time_seconds": whole,
	},
	Resource: {"node_cpu_usage_seconds_total": whole, "node_memory_working_set_bytes": whole},
}

var standard = map[Job]map[string][]string{
	APIServer: {
		"apiserver_request_total": {"code", "verb"}, "apiserver_request_duration_seconds_sum": {"verb"}, "apiserver_request_duration_seconds_count": {"verb"},
		"apiserver_current_inflight_requests": whole, "apiserver_storage_objects": whole, "apiserver_storage_size_bytes": whole,
		"etcd_request_duration_seconds_sum": {"operation"}, "etcd_request_duration_seconds_count": {"operation"},
		"process_cpu_seconds_total": whole, "process_resident_memory_bytes": whole, "process_start_time_seconds": whole,
	},
	Resource: {
		"node_cpu_usage_seconds_total": whole, "node_memory_working_set_bytes": whole,
		"pod_cpu_usage_seconds_total": whole, "pod_memory_working_set_bytes": whole,
	},
	Kubelet: {
		"kubelet_running_pods": whole, "kubelet_volume_stats_used_bytes": whole, "kubelet_volume_stats_capacity_bytes": whole,
		"process_resident_memory_bytes": whole, "process_cpu_seconds_total": whole,
	},
	CAdvisor: {
		"container_network_receive_bytes_total": {"namespace", "pod"}, "container_network_transmit_bytes_total": {"namespace", "pod"},
		"container_cpu_cfs_periods_total": {"namespace", "pod"}, "container_cpu_cfs_throttled_periods_total": {"namespace", "pod"},
		"container_oom_events_total": {"namespace", "pod"},
	},
}

// RulesOf returns what a profile keeps of a job.
func RulesOf(profile v1alpha1.MetricsProfile, job Job) Rules {
	switch profile {
	case v1alpha1.MetricsMinimal:
		return Rules{by: minimal[job]}
	case v1alpha1.MetricsStandard:
		return Rules{by: standard[job]}
	case v1alpha1.MetricsFull:
		return Rules{all: true}
	}
	return Rules{}
}

// Everything keeps all of a source as it is.
func Everything() Rules { return Rules{all: true} }

// Keeps says whether a metric is kept.
func (r Rules) Keeps(name string) bool {
	_, named := r.by[name]
	return r.all || named
}

// By returns the labels by which a metric is summed up; none when it is kept as it is.
func (r Rules) By(name string) []string { return r.by[name] }

// MaxKept is how many bytes of text are kept of one source: some 200,000 series.
const MaxKept = 32 << 20

// ErrTooMuch says that a source has more than is kept of one.
var ErrTooMuch = errors.New("it has too many series")

// typeLine is how a line begins that says the type of a family.
const typeLine = "# TYPE "

// Within says whether a metric is one of a family, as a histogram's _sum is.
func Within(family, name string) bool {
	part, is := strings.CutPrefix(name, family)
	return family != "" && is && (part == "" || part == "_bucket" || part == "_sum" || part == "_count")
}

// Lines reads what a source says, in Prometheus' text format, and returns the lines that are kept, with their types.
func (r Rules) Lines(from io.Reader) ([]byte, error) {
	var kept bytes.Buffer
	var family []byte // the line that says the type of what follows
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 4<<10), 1<<20)
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 || line[0] == '#' {
			if bytes.HasPrefix(line, []byte(typeLine)) {
				family = append(family[:0], line...)
			}
			continue
		}
		end := bytes.IndexAny(line, "{ ")
		if end < 0 || !r.Keeps(string(line[:end])) {
			continue
		}
		if kept.Len()+len(line)+len(family) > MaxKept {
			return nil, fmt.Errorf("%w: more than %d bytes are to be kept; a profile that keeps less, Standard or Minimal, is for such a cluster", ErrTooMuch, MaxKept)
		}
		if name, _, _ := strings.Cut(strings.TrimPrefix(string(family), typeLine), " "); Within(name, string(line[:end])) {
			kept.Write(family)
			kept.WriteByte('\n')
			family = family[:0]
		}
		kept.Write(line)
		kept.WriteByte('\n')
	}
	return kept.Bytes(), lines.Err()
}
