package measured

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/health"
)

// Sample is a value of a series.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Asker asks one hub.
type Asker struct {
	web *http.Client
	url string
	// clusters are those that are asked about, where not all may be.
	clusters []v1alpha1.ClusterName
}

// Clusters reads the clusters that a selector selects, as it was written and as it was read. Where it selects none, who asks is told so.
func Clusters(ctx context.Context, f *client.Factory, hub *client.Hub, written string, selector labels.Selector) ([]v1alpha1.MemberCluster, error) {
	var clusters v1alpha1.MemberClusterList
	if err := hub.ListClusters(ctx, &clusters, selector); err != nil {
		return nil, err
	}
	if len(clusters.Items) == 0 {
		none, err := hub.NoneMatch(ctx, written)
		if err == nil {
			f.Note("%s", none)
		}
		return nil, err
	}
	return clusters.Items, nil
}

// Names returns the names of clusters.
func Names(clusters []v1alpha1.MemberCluster) []v1alpha1.ClusterName {
	names := make([]v1alpha1.ClusterName, len(clusters))
	for i := range clusters {
		names[i] = v1alpha1.ClusterName(clusters[i].Name)
	}
	return names
}

// New returns an Asker. It finds out where the hub's door is.
func New(ctx context.Context, f *client.Factory, hub *client.Hub) (*Asker, error) {
	web, at, err := f.Door(ctx, hub)
	if err != nil {
		return nil, err
	}
	return At(web, at), nil
}

// At returns an Asker of the hub whose door is at a URL.
func At(web *http.Client, url string) *Asker { return &Asker{web: web, url: url} }

// most is about how many clusters can be asked at once by their names: a URL has them.
const most = 500

// Query returns what an expression is now, for each of its series. Who may not see all asks for what is about these clusters.
func (a *Asker) Query(ctx context.Context, promql string, clusters []v1alpha1.ClusterName) ([]Sample, error) {
	return of(a, ctx, clusters, "query", url.Values{"query": {promql}}, read)
}

// All returns what each of some expressions is now.
func (a *Asker) All(ctx context.Context, promql []string, clusters []v1alpha1.ClusterName) (answers [][]Sample, err error) {
	for _, one := range promql {
		samples, err := a.Query(ctx, one, clusters)
		if err != nil {
			return nil, err
		}
		answers = append(answers, samples)
	}
	return answers, nil
}

// Firing returns the alerts that fire. Who may not see all gets those of these clusters.
func (a *Asker) Firing(ctx context.Context, clusters []v1alpha1.ClusterName) ([]health.FiringAlert, error) {
	all, err := a.Alerts(ctx, clusters)
	var firing []health.FiringAlert
	for _, one := range all.Alerts {
		if one.State == Firing {
			firing = append(firing, one.FiringAlert)
		}
	}
	return firing, err
}

// Firing is the state of an alert that fires; before that it is pending, while it has not lasted as long as its rule says.
const Firing = "firing"

// Alert is an alert of the hub's rules, and how far it is.
type Alert struct {
	health.FiringAlert
	// State is pending or firing, Query what its rule looks for.
	State, Query string
}

// Alerts are those of the hub's rules, of which there are so many.
type Alerts struct {
	Alerts []Alert
	Rules  int
}

// Alerts returns the alerts that fire or are about to. Who may not see all gets those of these clusters.
func (a *Asker) Alerts(ctx context.Context, clusters []v1alpha1.ClusterName) (Alerts, error) {
	return of(a, ctx, clusters, "rules", url.Values{"type": {"alert"}}, readRules)
}

// of asks about everything, or, who may not see that, about these clusters.
func of[T any](a *Asker, ctx context.Context, clusters []v1alpha1.ClusterName, what string, form url.Values, read func(status string, text []byte) (T, error)) (T, error) {
	ask := func() (said T, err error) {
		status, text, err := a.ask(ctx, what, form)
		if err != nil {
			return said, err
		}
		return read(status, text)
	}
	said, err := ask()
	if a.clusters != nil || !apierrors.IsForbidden(err) || len(clusters) == 0 || len(clusters) > most {
		return said, err
	}
	a.clusters = clusters
	return ask()
}

// answer is what the hub says, in Prometheus' form.
type answer struct {
	Status, Error string
	Data          struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
}

func (a *Asker) ask(ctx context.Context, what string, form url.Values) (status string, text []byte, err error) {
	at := url.Values{}
	for _, cluster := range a.clusters {
		at.Add("cluster", string(cluster))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+"/api/v1/"+what+"?"+at.Encode(), strings.NewReader(form.Encode()))
	if err != nil {
		return "", nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := a.web.Do(request)
	if err != nil {
		return "", nil, err
	}
	defer response.Body.Close()
	if text, err = io.ReadAll(response.Body); err != nil {
		return "", nil, fmt.Errorf("reading the hub's answer: %w", err)
	}
	return response.Status, text, nil
}

// refused returns the error of an answer that is one of the hub's door.
func refused(text []byte) error {
	var refusal metav1.Status
	if json.Unmarshal(text, &refusal) == nil && refusal.Kind == "Status" {
		return &apierrors.StatusError{ErrStatus: refusal}
	}
	return nil
}

// read reads an answer.
func read(status string, text []byte) ([]Sample, error) {
	if err := refused(text); err != nil {
		return nil, err
	}
	var said answer
	if err := json.Unmarshal(text, &said); err != nil || said.Status == "" {
		return nil, fmt.Errorf("the hub answered %s to a question for metrics: is it older than this command?", status)
	}
	if said.Status != "success" {
		return nil, fmt.Errorf("the hub answered %s: %s", status, said.Error)
	}
	samples := make([]Sample, 0, len(said.Data.Result))
	for _, one := range said.Data.Result {
		value, _ := one.Value[1].(string)
		number, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(number) || math.IsInf(number, 0) {
			continue // such as a share of nothing
		}
		samples = append(samples, Sample{one.Metric, number})
	}
	return samples, nil
}

// readRules reads the alerts out of an answer about rules.
func readRules(status string, text []byte) (all Alerts, err error) {
	if err := refused(text); err != nil {
		return all, err
	}
	var said struct {
		Status string
		Data   struct {
			Groups []struct {
				File  string
				Rules []struct {
					Name, Query string
					Alerts      []struct {
						State               string
						Labels, Annotations map[string]string
						ActiveAt            metav1.Time
					}
				}
			}
		}
	}
	if err := json.Unmarshal(text, &said); err != nil || said.Status != "success" {
		return all, fmt.Errorf("the hub answered %s to a question for alerts: is it older than this command?", status)
	}
	for _, group := range said.Data.Groups {
		for _, rule := range group.Rules {
			all.Rules++
			for _, a := range rule.Alerts {
				told := health.FiringAlert{Object: group.File, Name: rule.Name, Labels: a.Labels, Annotations: a.Annotations, Since: a.ActiveAt}
				all.Alerts = append(all.Alerts, Alert{FiringAlert: told, State: a.State, Query: rule.Query})
			}
		}
	}
	return all, nil
}
