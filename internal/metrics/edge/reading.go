package edge

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

// Relabeling is a step of `relabelings` or `metricRelabelings`, as Prometheus' operator writes it.
type Relabeling struct {
	SourceLabels []string `json:"sourceLabels"`
	Separator    *string  `json:"separator"`
	TargetLabel  string   `json:"targetLabel"`
	Regex        string   `json:"regex"`
	Modulus      uint64   `json:"modulus"`
	Replacement  *string  `json:"replacement"`
	Action       string   `json:"action"`
}

// What steps may have, so that no monitor has an agent run out of memory: each can double what the one before it made.
const (
	maxSteps, maxSources, maxRegex, maxReplacement = 100, 32, 16 << 10, 1 << 10
	// maxLabels is how many bytes steps may add to the labels of a series, and maxValue how many a label may have that steps read: the hub keeps 2 kB of one.
	maxLabels, maxValue = 16 << 10, 4 << 10
)

// Steps are what is done to labels, in their order.
type Steps []*relabel.Config

// steps reads what a monitor says. The error names the step.
func steps(written []Relabeling) (Steps, error) {
	if len(written) > maxSteps {
		return nil, fmt.Errorf("it has %d steps, and %d is what one list may have", len(written), maxSteps)
	}
	var all Steps
	for i, r := range written {
		step, err := r.step()
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		all = append(all, step)
	}
	return all, nil
}

func (r Relabeling) step() (*relabel.Config, error) {
	c := relabel.DefaultRelabelConfig
	c.TargetLabel, c.Modulus = r.TargetLabel, r.Modulus
	for _, name := range r.SourceLabels {
		c.SourceLabels = append(c.SourceLabels, model.LabelName(name))
	}
	if r.Separator != nil {
		c.Separator = *r.Separator
	}
	if r.Replacement != nil {
		c.Replacement = *r.Replacement
	}
	if len(c.SourceLabels) > maxSources || len(r.Regex) > maxRegex || len(c.Replacement)+len(c.Separator)+len(c.TargetLabel) > maxReplacement {
		return nil, errors.New("it is too long")
	}
	if r.Regex != "" {
		regex, err := relabel.NewRegexp(r.Regex)
		if err != nil {
			return nil, fmt.Errorf("regex: %w", err)
		}
		c.Regex = regex
	}
	if r.Action != "" {
		if err := c.Action.UnmarshalYAML(func(into any) error { *into.(*string) = r.Action; return nil }); err != nil {
			return nil, err
		}
	}
	return &c, c.Validate(model.UTF8Validation)
}

// errGrows says that steps make more of labels than a series may have.
var errGrows = fmt.Errorf("it makes labels of more than %d bytes", maxLabels)

// Apply does them to labels, and says whether what has these is kept.
func (s Steps) Apply(to *labels.Builder) (keep bool, err error) {
	most := -1
	for _, step := range s {
		if most < 0 && grows(step) {
			most = size(to) + maxLabels
		}
		if !relabel.ProcessBuilder(to, step) {
			return false, nil
		}
		if grows(step) && size(to) > most {
			return false, errGrows
		}
	}
	return true, nil
}

func grows(step *relabel.Config) bool {
	return step.Action == relabel.Replace || step.Action == relabel.LabelMap
}

func size(of *labels.Builder) (bytes int) {
	of.Range(func(l labels.Label) { bytes += len(l.Name) + len(l.Value) })
	return bytes
}

// Reading is what becomes of what a pod says.
type Reading struct {
	// Of is the monitor that wants it, and Field its endpoint; both empty for a pod that asks itself.
	Of, Field string
	// Honor has what the pod says of a label count where its target has that one too.
	Honor bool
	// Steps are done to each series.
	Steps Steps
	// Most is how many series may be left of it; 0 says nothing.
	Most int
	// Limits are what all pods of the endpoint, and each series, may have.
	Limits Limits
	// Stays has it not be followed where it leads.
	Stays bool

	found uint64 // pods of the endpoint
}

// TooMany says that an endpoint has more pods than its monitor lets be asked; nil when it has not. None of them is asked then, as with Prometheus.
func (r *Reading) TooMany() error {
	if r.Limits.Targets == 0 || r.found <= r.Limits.Targets {
		return nil
	}
	return fmt.Errorf("%s: spec.targetLimit: %s has %d pods, and %d is how many may be asked", r.Of, strings.TrimSuffix(r.Field, "."), r.found, r.Limits.Targets)
}

// Within says what of a series of a pod is more than its monitor lets be; nil when nothing is.
func (r *Reading) Within(set labels.Labels) error {
	beyond := func(field string, most uint64, of string, n int) error {
		if most == 0 || uint64(n) <= most {
			return nil
		}
		return fmt.Errorf("%s: spec.%s: %s of %.50s is %d, and %d is what it may be", r.Of, field, of, set.Get(model.MetricNameLabel), n, most)
	}
	err := beyond("labelLimit", r.Limits.Labels, "the number of labels", set.Len())
	if r.Limits.LabelNames == 0 && r.Limits.LabelValues == 0 {
		return err
	}
	set.Range(func(l labels.Label) {
		if err == nil {
			err = beyond("labelNameLengthLimit", r.Limits.LabelNames, fmt.Sprintf("the length of label %.50q", l.Name), len(l.Name))
		}
		if err == nil {
			err = beyond("labelValueLengthLimit", r.Limits.LabelValues, fmt.Sprintf("the length of what label %.50q has", l.Name), len(l.Value))
		}
	})
	return err
}

// Own says whether a job is one of the agent's own. Rules name it: nobody else's series have it.
func Own(job string) bool {
	return slices.Contains([]Job{APIServer, Kubelet, Resource, CAdvisor, State, Pods}, Job(job))
}

// The labels of a target that say where it is asked, and the beginning of those that a step may read and no series has.
const (
	hidden       = "__"
	addressLabel = model.AddressLabel
	schemeLabel  = model.SchemeLabel
	pathLabel    = model.MetricsPathLabel
	paramLabel   = model.ParamLabelPrefix
)

// told are the labels of a target before its `relabelings`, with what those may read, under the names that Prometheus has for it.
func (w *watched) told(p *Pod, t Target) *labels.Builder {
	of := labels.NewBuilder(labels.EmptyLabels())
	set := func(name, value string) {
		if value != "" && len(value) <= maxValue {
			of.Set(name, value)
		}
	}
	set("namespace", p.Namespace)
	set("pod", p.Name)
	set(model.JobLabel, string(t.Job))
	who := p.Labels
	if w.service != nil {
		who = w.service.Labels
		copied(set, w.monitor.Spec.TargetLabels, who)
	}
	set(model.JobLabel, who[w.monitor.Spec.JobLabel])
	copied(set, w.monitor.Spec.PodTargetLabels, p.Labels)
	if len(w.steps) > 0 {
		w.meta(p, t, set)
	}
	return labels.NewBuilder(of.Labels()) // sorted
}

// meta sets what no series has.
func (w *watched) meta(p *Pod, t Target, set func(name, value string)) {
	const pod = model.MetaLabelPrefix + "kubernetes_pod_"
	scheme := "http"
	if t.Secure {
		scheme = "https"
	}
	set(addressLabel, address(p.Address)+":"+strconv.Itoa(int(t.Port)))
	set(schemeLabel, scheme)
	set(pathLabel, t.Path)
	for name, values := range t.Params {
		set(paramLabel+name, values[0])
	}
	set(model.MetaLabelPrefix+"kubernetes_namespace", p.Namespace)
	set(pod+"name", p.Name)
	set(pod+"ip", p.Address)
	for name, value := range p.About {
		set(pod+name, value)
	}
	for _, port := range p.Ports {
		if port.Number == t.Port {
			set(pod+"container_name", port.Container)
			set(pod+"container_port_name", port.Name)
			set(pod+"container_port_number", strconv.Itoa(int(port.Number)))
			set(pod+"container_port_protocol", port.Protocol)
			break
		}
	}
	pairs(set, pod, p.Labels, p.Annotations)
	if p.Node != nil && w.monitor.Spec.AttachMetadata.Node {
		const node = model.MetaLabelPrefix + "kubernetes_node_"
		set(node+"name", p.Node.Name)
		pairs(set, node, p.Node.Labels, p.Node.Annotations)
	}
	if w.service != nil {
		const service = model.MetaLabelPrefix + "kubernetes_service_"
		set(service+"name", w.service.Name)
		set(model.MetaLabelPrefix+"kubernetes_endpoint_port_name", w.endpoint.Port)
		set(model.MetaLabelPrefix+"kubernetes_endpoint_address_target_kind", "Pod")
		set(model.MetaLabelPrefix+"kubernetes_endpoint_address_target_name", p.Name)
		pairs(set, service, w.service.Labels, w.service.Annotations)
	}
}

// copied sets labels of an object that a monitor wants on all series.
func copied(set func(name, value string), names []string, from map[string]string) {
	for _, name := range names {
		set(sanitized(name), from[name])
	}
}

// pairs sets what labels and annotations an object has.
func pairs(set func(name, value string), of string, labels, annotations map[string]string) {
	for kind, all := range map[string]map[string]string{"label": labels, "annotation": annotations} {
		for name, value := range all {
			set(of+kind+"_"+sanitized(name), value)
			set(of+kind+"present_"+sanitized(name), "true")
		}
	}
}

var unfit = regexp.MustCompile(`[^a-zA-Z0-9_]`)

// sanitized is a name as one of a label.
func sanitized(name string) string { return unfit.ReplaceAllString(name, "_") }

// address is an IP as it is before a port.
func address(ip string) string {
	if strings.Contains(ip, ":") {
		return "[" + ip + "]"
	}
	return ip
}

// placed is a target after the `relabelings` of its endpoint; nothing where they drop it, or lead where nobody is asked.
func (w *watched) placed(p *Pod, t Target, note func(field, why string)) (Target, bool) {
	at := w.at + "relabelings"
	set := w.told(p, t)
	if len(w.steps) > 0 {
		keep, err := w.steps.Apply(set)
		if err != nil {
			note(at, err.Error()+", so that nothing is asked")
		}
		if !keep {
			return t, false
		}
		if why := t.lead(set); why != "" {
			note(at, why+", so that nothing is asked")
			return t, false
		}
	}
	switch job := set.Get(model.JobLabel); {
	case job == "":
		set.Set(model.JobLabel, string(t.Job))
	case Own(job):
		note(at, fmt.Sprintf("job %q is the agent's own, and stays %q", job, t.Job))
		set.Set(model.JobLabel, string(t.Job))
	}
	set.Range(func(l labels.Label) {
		if strings.HasPrefix(l.Name, hidden) {
			set.Del(l.Name)
		}
	})
	if set.Get(model.InstanceLabel) == "" {
		set.Set(model.InstanceLabel, t.Instance())
	}
	t.Labels = set.Labels()
	return t, true
}

// lead has a target be where its labels lead, and says why nobody is asked there.
func (t *Target) lead(set *labels.Builder) (why string) {
	host, port, _ := strings.Cut(strings.TrimPrefix(set.Get(addressLabel), address(t.Address)), ":")
	number, err := strconv.ParseUint(port, 10, 16)
	if host != "" || err != nil || number == 0 {
		return "it leads to another address than the pod's, and another port is all that it may lead to"
	}
	t.Port, t.Secure, t.Path = int32(number), secure(set.Get(schemeLabel)), pathOf(set.Get(pathLabel))
	if t.Path == "" {
		return "it leads to what is no plain path"
	}
	t.Params = maps.Clone(t.Params)
	set.Range(func(l labels.Label) {
		if name, is := strings.CutPrefix(l.Name, paramLabel); is {
			if t.Params == nil {
				t.Params = url.Values{}
			}
			t.Params[name] = append([]string{l.Value}, t.Params[name][min(1, len(t.Params[name])):]...)
		}
	})
	return ""
}
