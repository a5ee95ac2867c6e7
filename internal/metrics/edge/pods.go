package edge

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Pods is the job of pods that ask to be measured by an annotation. Those that a PodMonitor or a ServiceMonitor names have podmonitor/NAMESPACE/NAME, or
// servicemonitor/NAMESPACE/NAME: whoever makes one of those cannot pass for a job of the agent's own.
const Pods Job = "pods"

const (
	// MaxTargets is how many pods are asked in a round, MaxPodText how many bytes one may say, and MaxPodSeries how many series: a pod
	// that has more is not measured, so that it takes the cluster's limit from nobody else.
	MaxTargets, MaxPodText, MaxPodSeries = 1000, 2 << 20, 5000
)

// The annotations by which a pod asks to be measured, as the field has them.
const (
	scrapeAnnotation = "prometheus.io/scrape"
	portAnnotation   = "prometheus.io/port"
	pathAnnotation   = "prometheus.io/path"
	schemeAnnotation = "prometheus.io/scheme"
)

// Pod is what counts of a pod.
type Pod struct {
	Namespace, Name     string
	Labels, Annotations map[string]string
	// Ports are those that its containers declare, in their order.
	Ports []Port
}

// Port is one of a pod.
type Port struct {
	Name   string
	Number int32
}

// Target is where a pod is asked.
type Target struct {
	Job                  Job
	Namespace, Pod, Path string
	Port                 int32
	Secure               bool
}

// Instance names it among those of its job.
func (t Target) Instance() string { return fmt.Sprintf("%s/%s:%d", t.Namespace, t.Pod, t.Port) }

// URL is its path at the API server, which asks it.
func (t Target) URL() string {
	scheme := ""
	if t.Secure {
		scheme = "https:"
	}
	return fmt.Sprintf("/api/v1/namespaces/%s/pods/%s%s:%d/proxy%s", t.Namespace, scheme, t.Pod, t.Port, t.Path)
}

// plain is a path that leads nowhere but down: what a pod says of its path is put behind its own at the API server, where the agent may do everything.
var plain = regexp.MustCompile(`^(/[A-Za-z0-9_.~-]+)+/?$`)

// pathOf returns the path of a target, /metrics where none is said; empty when it is none that is asked.
func pathOf(said string) string {
	if said == "" {
		return "/metrics"
	}
	if !plain.MatchString(said) || slices.ContainsFunc(strings.Split(said, "/"), func(part string) bool { return part == "." || part == ".." }) {
		return ""
	}
	return said
}

// Endpoint is one of a monitor, as far as it counts here.
type Endpoint struct {
	Port       string              `json:"port"`
	PortNumber *int32              `json:"portNumber"`
	TargetPort *intstr.IntOrString `json:"targetPort"`
	Path       string              `json:"path"`
	Scheme     string              `json:"scheme"`
}

// Monitor is a PodMonitor or a ServiceMonitor, as far as it counts here.
type Monitor struct {
	Metadata struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Selector          metav1.LabelSelector `json:"selector"`
		NamespaceSelector struct {
			Any        bool     `json:"any"`
			MatchNames []string `json:"matchNames"`
		} `json:"namespaceSelector"`
		PodMetricsEndpoints []Endpoint `json:"podMetricsEndpoints"`
		Endpoints           []Endpoint `json:"endpoints"`
	} `json:"spec"`
}

// looksIn says whether a monitor looks into a namespace.
func (m *Monitor) looksIn(namespace string) bool {
	names := m.Spec.NamespaceSelector.MatchNames
	return m.Spec.NamespaceSelector.Any || slices.Contains(names, namespace) || len(names) == 0 && namespace == m.Metadata.Namespace
}

// Service is what counts of a Service.
type Service struct {
	Namespace, Name  string
	Labels, Selector map[string]string
	// Ports are the ports of pods that its own lead to, by their names.
	Ports map[string]intstr.IntOrString
}

// watched is pods that are measured because of a monitor.
type watched struct {
	job        Job
	looksIn    func(namespace string) bool
	selector   labels.Selector
	endpoint   Endpoint
	servesPort map[string]intstr.IntOrString // of a Service; nil for a PodMonitor
}

// Watch says which pods are measured.
type Watch struct{ all []watched }

// NewWatch puts together what monitors name. One whose selector cannot be read is left out.
func NewWatch(pods, services []Monitor, serving []Service) *Watch {
	w := &Watch{}
	for i := range pods {
		m := &pods[i]
		selector, err := metav1.LabelSelectorAsSelector(&m.Spec.Selector)
		if err != nil {
			continue
		}
		for _, e := range m.Spec.PodMetricsEndpoints {
			w.all = append(w.all, watched{Job("podmonitor/" + m.Metadata.Namespace + "/" + m.Metadata.Name), m.looksIn, selector, e, nil})
		}
	}
	for i := range services {
		m := &services[i]
		selector, err := metav1.LabelSelectorAsSelector(&m.Spec.Selector)
		if err != nil {
			continue
		}
		for _, s := range serving {
			if len(s.Selector) == 0 || !m.looksIn(s.Namespace) || !selector.Matches(labels.Set(s.Labels)) {
				continue
			}
			for _, e := range m.Spec.Endpoints {
				in := func(namespace string) bool { return namespace == s.Namespace }
				w.all = append(w.all, watched{Job("servicemonitor/" + m.Metadata.Namespace + "/" + m.Metadata.Name), in, labels.SelectorFromSet(s.Selector), e, s.Ports})
			}
		}
	}
	return w
}

// Targets returns where a pod that runs is asked, each place once.
func (w *Watch) Targets(p *Pod) (targets []Target) {
	add := func(job Job, port int32, path, scheme string) {
		t := Target{Job: job, Namespace: p.Namespace, Pod: p.Name, Path: pathOf(path), Port: port, Secure: strings.EqualFold(scheme, "https")}
		same := func(other Target) bool { return other.Port == t.Port && other.Path == t.Path }
		if t.Port > 0 && t.Port < 1<<16 && t.Path != "" && !slices.ContainsFunc(targets, same) {
			targets = append(targets, t)
		}
	}
	if p.Annotations[scrapeAnnotation] == "true" {
		add(Pods, p.annotated(), p.Annotations[pathAnnotation], p.Annotations[schemeAnnotation])
	}
	for i := range w.all {
		of := &w.all[i]
		if of.looksIn(p.Namespace) && of.selector.Matches(labels.Set(p.Labels)) {
			add(of.job, of.port(p), of.endpoint.Path, of.endpoint.Scheme)
		}
	}
	return targets
}

// annotated is the port that a pod's annotation names, or the first that it declares.
func (p *Pod) annotated() int32 {
	if said := p.Annotations[portAnnotation]; said != "" {
		number, err := strconv.ParseInt(said, 10, 32)
		if err != nil {
			return p.named(said)
		}
		return int32(number)
	}
	if len(p.Ports) > 0 {
		return p.Ports[0].Number
	}
	return 0
}

// named is the port of a name; 0 when there is none.
func (p *Pod) named(name string) int32 {
	for _, port := range p.Ports {
		if port.Name == name {
			return port.Number
		}
	}
	return 0
}

// port is the port of a pod that an endpoint means; 0 when it has none.
func (w *watched) port(p *Pod) int32 {
	e := &w.endpoint
	means := e.TargetPort
	switch {
	case e.PortNumber != nil:
		return *e.PortNumber
	case means != nil:
	case w.servesPort == nil:
		return p.named(e.Port)
	default:
		of, is := w.servesPort[e.Port]
		if !is {
			return 0
		}
		means = &of
	}
	if means.Type == intstr.Int {
		return means.IntVal
	}
	return p.named(means.StrVal)
}
