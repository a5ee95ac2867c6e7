package edge

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Endpoint is one of a monitor, as far as it counts here.
type Endpoint struct {
	Port          string              `json:"port"`
	PortNumber    *int32              `json:"portNumber"`
	TargetPort    *intstr.IntOrString `json:"targetPort"`
	Path          string              `json:"path"`
	Scheme        string              `json:"scheme"`
	Interval      string              `json:"interval"`
	ScrapeTimeout string              `json:"scrapeTimeout"`
	Access
}

// Access is what is shown to a pod, and what it has to show. What is secret is named, and read when the pod is asked.
type Access struct {
	BasicAuth *struct {
		Username Key `json:"username"`
		Password Key `json:"password"`
	} `json:"basicAuth"`
	Authorization *struct {
		Type        string `json:"type"`
		Credentials Key    `json:"credentials"`
	} `json:"authorization"`
	BearerTokenSecret *Key `json:"bearerTokenSecret"`
	TLSConfig         *TLS `json:"tlsConfig"`

	// Namespace is the monitor's, where what it names is read, and Of says which monitor it is.
	Namespace string `json:"-"`
	Of        string `json:"-"`
}

// Key names a key of a Secret or a ConfigMap.
type Key struct {
	Name     string `json:"name"`
	Key      string `json:"key"`
	Optional bool   `json:"optional"`
}

// Source is a key of either.
type Source struct {
	Secret    *Key `json:"secret"`
	ConfigMap *Key `json:"configMap"`
}

// TLS is by what a pod is known, and known to a pod.
type TLS struct {
	CA                 Source `json:"ca"`
	Cert               Source `json:"cert"`
	KeySecret          *Key   `json:"keySecret"`
	ServerName         string `json:"serverName"`
	InsecureSkipVerify bool   `json:"insecureSkipVerify"`
	MinVersion         string `json:"minVersion"`
	MaxVersion         string `json:"maxVersion"`
}

// needed says whether the API server's way to pods does not do. It passes no Authorization on, shows no certificate, and asks for none that it knows.
func (a *Access) needed(secure bool) bool {
	if a.BasicAuth != nil || a.Authorization != nil || named(a.BearerTokenSecret) {
		return true
	}
	if !secure || a.TLSConfig == nil {
		return false
	}
	blind := TLS{InsecureSkipVerify: true}
	return *a.TLSConfig != blind
}

// named says whether a key is one: tools leave {key: ""} where there is none.
func named(k *Key) bool { return k != nil && (k.Name != "" || k.Key != "") }

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
	over   []string // the fields that somebody wrote and that do not count here
	broken error    // it cannot be read
}

// looksIn says whether a monitor looks into a namespace.
func (m *Monitor) looksIn(namespace string) bool {
	names := m.Spec.NamespaceSelector.MatchNames
	return m.Spec.NamespaceSelector.Any || slices.Contains(names, namespace) || len(names) == 0 && namespace == m.Metadata.Namespace
}

// The fields that count, and what may be said in others because it is so here as well: what one has is true at the agent's time, a pod is asked when it runs, and
// what it says of the agent's labels does not count.
var (
	specFields     = []string{"selector", "namespaceSelector", "podMetricsEndpoints", "endpoints"}
	endpointFields = []string{"port", "portNumber", "targetPort", "path", "scheme", "interval", "scrapeTimeout", "basicAuth", "authorization", "bearerTokenSecret", "tlsConfig"}
	tlsFields      = []string{"ca", "cert", "keySecret", "serverName", "insecureSkipVerify", "minVersion", "maxVersion"}
	asHere         = map[string]string{"honorLabels": "false", "honorTimestamps": "false", "filterRunning": "true", "enableHttp2": "true", "trackTimestampsStaleness": "true"}
)

// UnmarshalJSON implements json.Unmarshaler: it remembers what does not count.
func (m *Monitor) UnmarshalJSON(raw []byte) error {
	type plain Monitor
	if m.broken = json.Unmarshal(raw, (*plain)(m)); m.broken != nil { // others can be
		return nil
	}
	var written struct {
		Spec map[string]json.RawMessage `json:"spec"`
	}
	if err := json.Unmarshal(raw, &written); err != nil {
		return err
	}
	m.over = over("spec", written.Spec, specFields)
	for _, list := range []string{"podMetricsEndpoints", "endpoints"} {
		var endpoints []map[string]json.RawMessage
		if written.Spec[list] == nil {
			continue
		}
		if err := json.Unmarshal(written.Spec[list], &endpoints); err != nil {
			return err
		}
		for i, fields := range endpoints {
			at := fmt.Sprintf("spec.%s[%d]", list, i)
			m.over = append(m.over, over(at, fields, endpointFields)...)
			var secured map[string]json.RawMessage
			if fields["tlsConfig"] != nil && json.Unmarshal(fields["tlsConfig"], &secured) == nil {
				m.over = append(m.over, over(at+".tlsConfig", secured, tlsFields)...)
			}
		}
	}
	return nil
}

// over returns which fields do not count, sorted.
func over(at string, fields map[string]json.RawMessage, count []string) (found []string) {
	for name, value := range fields {
		text := string(value)
		if slices.Contains(count, name) || text == "null" || text == `""` || text == "[]" || text == "{}" || asHere[name] == text {
			continue
		}
		found = append(found, at+"."+name)
	}
	slices.Sort(found)
	return found
}

// Note says of a monitor what of it does not count, or not as it is written.
type Note struct {
	// Object is the monitor, as "PodMonitor NAMESPACE/NAME".
	Object, Field, Why string
}

// watched is pods that are measured because of a monitor.
type watched struct {
	looksIn    func(namespace string) bool
	selector   labels.Selector
	endpoint   *Endpoint
	asks       Target                        // without what the pod adds
	servesPort map[string]intstr.IntOrString // of a Service; nil for a PodMonitor
}

// Watch says which pods are measured.
type Watch struct {
	// Notes are what of the monitors does not count.
	Notes []Note

	all []watched
}

// NewWatch puts together what monitors name. One whose selector cannot be read is left out.
func NewWatch(pods, services []Monitor, serving []Service) *Watch {
	w := &Watch{}
	for i := range pods {
		m := &pods[i]
		selector, targets := w.read(m, "PodMonitor", "podMetricsEndpoints", m.Spec.PodMetricsEndpoints)
		for j, t := range targets {
			w.all = append(w.all, watched{m.looksIn, selector, &m.Spec.PodMetricsEndpoints[j], t, nil})
		}
	}
	for i := range services {
		m := &services[i]
		selector, targets := w.read(m, "ServiceMonitor", "endpoints", m.Spec.Endpoints)
		for _, s := range serving {
			if len(targets) == 0 || len(s.Selector) == 0 || !m.looksIn(s.Namespace) || !selector.Matches(labels.Set(s.Labels)) {
				continue
			}
			for j, t := range targets {
				in := func(namespace string) bool { return namespace == s.Namespace }
				w.all = append(w.all, watched{in, labels.SelectorFromSet(s.Selector), &m.Spec.Endpoints[j], t, s.Ports})
			}
		}
	}
	return w
}

// read returns what a monitor selects, and how the pods of each of its endpoints are asked; none when its selector cannot be read. It notes what does not count.
func (w *Watch) read(m *Monitor, kind, list string, endpoints []Endpoint) (labels.Selector, []Target) {
	of := kind + " " + m.Metadata.Namespace + "/" + m.Metadata.Name
	note := func(field, why string) { w.Notes = append(w.Notes, Note{of, field, why}) }
	if m.broken != nil {
		note("spec", "it cannot be read, so that nothing is asked: "+m.broken.Error())
		return nil, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(&m.Spec.Selector)
	if err != nil {
		note("spec.selector", "it cannot be read, so that nothing is asked: "+err.Error())
		return nil, nil
	}
	for _, field := range m.over {
		note(field, "it does not count here")
	}
	targets := make([]Target, len(endpoints))
	for i := range endpoints {
		e := &endpoints[i]
		at := fmt.Sprintf("spec.%s[%d].", list, i)
		t := Target{Job: Job(strings.ToLower(kind) + "/" + m.Metadata.Namespace + "/" + m.Metadata.Name), Path: e.Path, Secure: secure(e.Scheme)}
		if pathOf(e.Path) == "" {
			note(at+"path", "it is no plain path, so that nothing is asked")
		}
		t.Every = duration(e.Interval, 0, ShortestInterval, 24*time.Hour, func(why string) { note(at+"interval", why) })
		longest := LongestTimeout
		if t.Every > 0 {
			longest = min(longest, t.Every)
		}
		t.Within = duration(e.ScrapeTimeout, min(PodTimeout, longest), time.Millisecond, longest, func(why string) { note(at+"scrapeTimeout", why) })
		if e.needed(t.Secure) {
			access := e.Access
			access.Namespace, access.Of = m.Metadata.Namespace, of
			t.Access = &access
		}
		targets[i] = t
	}
	return selector, targets
}

// duration reads a duration as Prometheus writes them; what is not said, or cannot be read, is otherwise.
func duration(text string, otherwise, least, most time.Duration, note func(why string)) time.Duration {
	if text == "" || text == "0" {
		return otherwise
	}
	said, err := model.ParseDuration(text)
	if err != nil {
		note("it is no duration, and does not count: " + err.Error())
		return otherwise
	}
	taken := min(max(time.Duration(said), least), most)
	if taken != time.Duration(said) {
		note(fmt.Sprintf("%s is taken for %s", taken, text))
	}
	return taken
}
