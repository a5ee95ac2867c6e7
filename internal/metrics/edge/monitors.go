package edge

import (
	"encoding/json"
	"fmt"
	"net/url"
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
	Params        map[string][]string `json:"params"`
	HonorLabels   bool                `json:"honorLabels"`
	// FollowRedirects is so where nothing is said.
	FollowRedirects *bool `json:"followRedirects"`

	Relabelings       []Relabeling `json:"relabelings"`
	MetricRelabelings []Relabeling `json:"metricRelabelings"`
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
	BearerTokenSecret *Key    `json:"bearerTokenSecret"`
	TLSConfig         *TLS    `json:"tlsConfig"`
	OAuth2            *OAuth2 `json:"oauth2"`

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

// OAuth2 is where a token is asked for that a pod is shown, as a client that has credentials of its own (RFC 6749, 4.4).
type OAuth2 struct {
	ClientID       Source            `json:"clientId"`
	ClientSecret   Key               `json:"clientSecret"`
	TokenURL       string            `json:"tokenUrl"`
	Scopes         []string          `json:"scopes"`
	EndpointParams map[string]string `json:"endpointParams"`
	TLSConfig      *TLS              `json:"tlsConfig"`
	ProxyURL       string            `json:"proxyUrl"`
}

// needed says whether the API server's way to pods does not do. It passes no Authorization on, shows no certificate, and asks for none that it knows.
func (a *Access) needed(secure bool) bool {
	if a.BasicAuth != nil || a.Authorization != nil || a.OAuth2 != nil || named(a.BearerTokenSecret) {
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
		JobLabel            string     `json:"jobLabel"`
		TargetLabels        []string   `json:"targetLabels"`
		PodTargetLabels     []string   `json:"podTargetLabels"`
		SampleLimit         uint64     `json:"sampleLimit"`
		Limits
		AttachMetadata struct {
			Node bool `json:"node"`
		} `json:"attachMetadata"`
	} `json:"spec"`
	over   []string // the fields that somebody wrote and that do not count here
	broken error    // it cannot be read
}

// Limits are what the pods of an endpoint, and each of their series, may have; 0 says nothing. Beyond them none is measured, or not that pod.
type Limits struct {
	Targets     uint64 `json:"targetLimit"`
	Labels      uint64 `json:"labelLimit"`
	LabelNames  uint64 `json:"labelNameLengthLimit"`
	LabelValues uint64 `json:"labelValueLengthLimit"`
}

// looksIn says whether a monitor looks into a namespace.
func (m *Monitor) looksIn(namespace string) bool {
	names := m.Spec.NamespaceSelector.MatchNames
	return m.Spec.NamespaceSelector.Any || slices.Contains(names, namespace) || len(names) == 0 && namespace == m.Metadata.Namespace
}

// The fields that count, and what may be said in others because it is so here as well: what one has is true at the agent's time, and a pod is asked when it runs.
var (
	specFields = []string{
		"selector", "namespaceSelector", "podMetricsEndpoints", "endpoints", "jobLabel", "targetLabels", "podTargetLabels", "attachMetadata",
		"sampleLimit", "targetLimit", "labelLimit", "labelNameLengthLimit", "labelValueLengthLimit",
	}
	endpointFields = []string{
		"port", "portNumber", "targetPort", "path", "scheme", "interval", "scrapeTimeout", "params", "honorLabels", "followRedirects", "relabelings", "metricRelabelings",
		"basicAuth", "authorization", "bearerTokenSecret", "tlsConfig", "oauth2",
	}
	oauth2Fields = []string{"clientId", "clientSecret", "tokenUrl", "scopes", "endpointParams", "tlsConfig", "proxyUrl"}
	tlsFields    = []string{"ca", "cert", "keySecret", "serverName", "insecureSkipVerify", "minVersion", "maxVersion"}
	asHere       = map[string]string{"honorTimestamps": "false", "filterRunning": "true", "enableHttp2": "true", "trackTimestampsStaleness": "true"}
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
	m.over = append(over("spec", written.Spec, specFields), within("spec.attachMetadata", written.Spec["attachMetadata"], []string{"node"})...)
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
			m.over = append(m.over, within(at+".tlsConfig", fields["tlsConfig"], tlsFields)...)
			m.over = append(m.over, within(at+".oauth2", fields["oauth2"], oauth2Fields)...)
			var authorized map[string]json.RawMessage
			if fields["oauth2"] != nil && json.Unmarshal(fields["oauth2"], &authorized) == nil {
				m.over = append(m.over, within(at+".oauth2.tlsConfig", authorized["tlsConfig"], tlsFields)...)
			}
		}
	}
	return nil
}

// within returns which fields of one field do not count.
func within(at string, field json.RawMessage, count []string) []string {
	var fields map[string]json.RawMessage
	if field == nil || json.Unmarshal(field, &fields) != nil {
		return nil
	}
	return over(at, fields, count)
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
	looksIn  func(namespace string) bool
	selector labels.Selector
	monitor  *Monitor
	service  *Service // through which pods are found; nil for a PodMonitor
	asked
}

// asked is how the pods of an endpoint are asked.
type asked struct {
	endpoint *Endpoint
	asks     Target // without what the pod adds
	steps    Steps  // of its relabelings
	at       string // which endpoint of its monitor it is, as fields of it begin
}

// Watch says which pods are measured.
type Watch struct {
	// Notes are what of the monitors does not count.
	Notes []Note

	all []watched
}

// Nodes says whether a monitor wants to know of a pod's node.
func (w *Watch) Nodes() bool {
	return slices.ContainsFunc(w.all, func(of watched) bool { return of.monitor.Spec.AttachMetadata.Node })
}

// NewWatch puts together what monitors name. One whose selector cannot be read is left out.
func NewWatch(pods, services []Monitor, serving []Service) *Watch {
	w := &Watch{}
	for i := range pods {
		m := &pods[i]
		selector, endpoints := w.read(m, "PodMonitor", "podMetricsEndpoints", m.Spec.PodMetricsEndpoints)
		for _, a := range endpoints {
			w.all = append(w.all, watched{m.looksIn, selector, m, nil, a})
		}
	}
	for i := range services {
		m := &services[i]
		selector, endpoints := w.read(m, "ServiceMonitor", "endpoints", m.Spec.Endpoints)
		for k := range serving {
			s := &serving[k]
			if len(endpoints) == 0 || len(s.Selector) == 0 || !m.looksIn(s.Namespace) || !selector.Matches(labels.Set(s.Labels)) {
				continue
			}
			for _, a := range endpoints {
				in := func(namespace string) bool { return namespace == s.Namespace }
				w.all = append(w.all, watched{in, labels.SelectorFromSet(s.Selector), m, s, a})
			}
		}
	}
	return w
}

// note notes something once.
func (w *Watch) note(of, field, why string) {
	if n := (Note{of, field, why}); !slices.Contains(w.Notes, n) {
		w.Notes = append(w.Notes, n)
	}
}

// read returns what a monitor selects, and how the pods of each of its endpoints are asked; none when its selector cannot be read. It notes what does not count.
func (w *Watch) read(m *Monitor, kind, list string, endpoints []Endpoint) (labels.Selector, []asked) {
	of := kind + " " + m.Metadata.Namespace + "/" + m.Metadata.Name
	note := func(field, why string) { w.note(of, field, why) }
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
	var found []asked
	for i := range endpoints {
		at := fmt.Sprintf("spec.%s[%d].", list, i)
		t := Target{Job: Job(strings.ToLower(kind) + "/" + m.Metadata.Namespace + "/" + m.Metadata.Name)}
		t.Reading = &Reading{Of: of, Field: at, Most: int(min(m.Spec.SampleLimit, MaxPodSeries)), Limits: m.Spec.Limits}
		if steps, good := endpoints[i].read(&t, m.Metadata.Namespace, func(field, why string) { note(at+field, why) }); good {
			found = append(found, asked{&endpoints[i], t, steps, at})
		}
	}
	return selector, found
}

// read has a target be as an endpoint says, and returns the steps of its relabelings. It is not good when it cannot be asked as it wants to be.
func (e *Endpoint) read(t *Target, namespace string, note func(field, why string)) (relabelings Steps, good bool) {
	bad := func(field, why string) { note(field, why+", so that nothing is asked"); good = false }
	good = true
	if t.Path = pathOf(e.Path); t.Path == "" {
		bad("path", "it is no plain path")
	}
	t.Secure, t.Reading.Honor, t.Reading.Stays = secure(e.Scheme), e.HonorLabels, e.FollowRedirects != nil && !*e.FollowRedirects
	for name, values := range e.Params {
		if len(values) > 0 {
			if t.Params == nil {
				t.Params = url.Values{}
			}
			t.Params[name] = values
		}
	}
	var err error
	if relabelings, err = steps(e.Relabelings); err != nil {
		bad("relabelings", "it cannot be read: "+err.Error())
	}
	for i, step := range relabelings {
		if slices.Contains([]string{model.ScrapeIntervalLabel, model.ScrapeTimeoutLabel}, step.TargetLabel) {
			note(fmt.Sprintf("relabelings[%d].targetLabel", i), step.TargetLabel+" does not count here; the endpoint's interval and scrapeTimeout do")
		}
	}
	if t.Reading.Steps, err = steps(e.MetricRelabelings); err != nil {
		bad("metricRelabelings", "it cannot be read: "+err.Error())
	}
	t.Every = duration(e.Interval, 0, ShortestInterval, 24*time.Hour, func(why string) { note("interval", why) })
	longest := LongestTimeout
	if t.Every > 0 {
		longest = min(longest, t.Every)
	}
	t.Within = duration(e.ScrapeTimeout, min(PodTimeout, longest), time.Millisecond, longest, func(why string) { note("scrapeTimeout", why) })
	if e.BasicAuth != nil && (e.OAuth2 != nil || e.Authorization != nil) || e.OAuth2 != nil && e.Authorization != nil {
		bad("basicAuth", "it, authorization and oauth2 exclude each other")
	}
	if e.OAuth2 != nil {
		if !onWeb(e.OAuth2.TokenURL) {
			bad("oauth2.tokenUrl", "it is no URL of http or https without a user")
		}
		if e.OAuth2.ProxyURL != "" && !onWeb(e.OAuth2.ProxyURL) {
			bad("oauth2.proxyUrl", "it is no URL of http or https without a user")
		}
	}
	e.Access.Namespace, e.Access.Of = namespace, t.Reading.Of
	return relabelings, good
}

// onWeb says whether a URL is one of http or https, without what is secret.
func onWeb(at string) bool {
	u, err := url.Parse(at)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") && u.User == nil
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
