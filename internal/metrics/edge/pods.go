package edge

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	promlabels "github.com/prometheus/prometheus/model/labels"
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
	// PodTimeout is how long a pod may take that nobody says another time for, and LongestTimeout how long one may at all: others wait.
	PodTimeout, LongestTimeout = 5 * time.Second, 15 * time.Second
	// ShortestInterval is how often a pod is asked at most.
	ShortestInterval = 5 * time.Second
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
	Namespace, Name string
	// Address is its IP.
	Address             string
	Labels, Annotations map[string]string
	// About is what else there is to say of it, by the ends of the names that Prometheus has for that, such as node_name.
	About map[string]string
	// Ports are those that its containers declare, in their order.
	Ports []Port
	// Node is its node, where that is known.
	Node *Node
}

// Node is what counts of a node of pods.
type Node struct {
	Name                string
	Labels, Annotations map[string]string
}

// Port is one of a pod.
type Port struct {
	Name   string
	Number int32
	// Container declares it.
	Container, Protocol string
}

// Target is where a pod is asked.
type Target struct {
	Job                  Job
	Namespace, Pod, Path string
	// Address is the pod's IP.
	Address string
	Port    int32
	Secure  bool
	Params  url.Values
	// Every is how often it is asked; 0 with all else. Within is how long it may take.
	Every, Within time.Duration
	// Access is what it is shown; nil where it is asked by the API server's way to pods, which carries none of that.
	Access *Access
	// Labels are those of all of its series; none for a pod that asks itself, whose are its job, namespace, name and instance. Reading is what becomes of them; never nil.
	Labels  promlabels.Labels
	Reading *Reading
}

// Apart says whether it is asked at another interval than all else.
func (t Target) Apart(every time.Duration) bool { return t.Every != 0 && t.Every != every }

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

// plain is a path that leads nowhere but down: no part of it is a dot or two, in no writing. What a pod says of its path is put behind its own at the API server, where the agent may do everything.
var plain = regexp.MustCompile(`^(/[A-Za-z0-9_.~:@+,=-]+)+/?$`)

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

// ofPod is where a pod begins on the API server's way to pods.
var ofPod = regexp.MustCompile(`^.*?/api/v1/namespaces/[^/]+/pods/[^/]+/proxy(?:/|$)`)

// Leads says whether a pod that was asked at one place may lead to another: to a path of its own, in the same manner. Whoever asks there has all rights in the cluster, and a token.
func Leads(from, to *url.URL) bool {
	root := strings.TrimSuffix(ofPod.FindString(from.Path), "/") // none where a port of the pod is forwarded
	path, below := strings.CutPrefix(to.Path, root)
	return below && path != "" && pathOf(path) == path && to.RawPath == "" && to.User == nil && to.Scheme == from.Scheme && to.Host == from.Host
}

// Service is what counts of a Service.
type Service struct {
	Namespace, Name  string
	Labels, Selector map[string]string
	Annotations      map[string]string
	// Ports are the ports of pods that its own lead to, by their names.
	Ports map[string]intstr.IntOrString
}

// Targets returns where a pod that runs is asked, each place once.
func (w *Watch) Targets(p *Pod) (targets []Target) {
	add := func(t Target) {
		same := func(other Target) bool {
			return other.Port == t.Port && other.Path == t.Path && other.Params.Encode() == t.Params.Encode()
		}
		if t.Port > 0 && t.Port < 1<<16 && t.Path != "" && !slices.ContainsFunc(targets, same) {
			targets = append(targets, t)
			t.Reading.found++
		}
	}
	base := Target{Namespace: p.Namespace, Pod: p.Name, Address: p.Address}
	if p.Annotations[scrapeAnnotation] == "true" {
		t := base
		t.Job, t.Port, t.Path, t.Secure = Pods, p.annotated(), pathOf(p.Annotations[pathAnnotation]), secure(p.Annotations[schemeAnnotation])
		t.Within, t.Reading = PodTimeout, &Reading{}
		add(t)
	}
	for i := range w.all {
		of := &w.all[i]
		if !of.looksIn(p.Namespace) || !of.selector.Matches(labels.Set(p.Labels)) {
			continue
		}
		t := of.asks
		t.Namespace, t.Pod, t.Address, t.Port = base.Namespace, base.Pod, base.Address, of.port(p)
		if t.Port <= 0 || t.Port >= 1<<16 {
			continue
		}
		t, kept := of.placed(p, t, func(field, why string) { w.note(t.Reading.Of, field, why) })
		if !kept {
			continue
		}
		if of.endpoint.needed(t.Secure) {
			t.Access = &of.endpoint.Access
		}
		add(t)
	}
	return targets
}

func secure(scheme string) bool { return strings.EqualFold(scheme, "https") }

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
	e := w.endpoint
	means := e.TargetPort
	switch {
	case e.PortNumber != nil:
		return *e.PortNumber
	case means != nil:
	case w.service == nil:
		return p.named(e.Port)
	default:
		of, is := w.service.Ports[e.Port]
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
