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

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
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
	if a.clusters != nil {
		return a.query(ctx, promql)
	}
	samples, err := a.query(ctx, promql)
	if !apierrors.IsForbidden(err) || len(clusters) == 0 || len(clusters) > most {
		return samples, err
	}
	a.clusters = clusters
	return a.query(ctx, promql)
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

func (a *Asker) query(ctx context.Context, promql string) ([]Sample, error) {
	at := url.Values{}
	for _, cluster := range a.clusters {
		at.Add("cluster", string(cluster))
	}
	form := strings.NewReader(url.Values{"query": {promql}}.Encode())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+"/api/v1/query?"+at.Encode(), form)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := a.web.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the hub's answer: %w", err)
	}
	return read(response.Status, text)
}

// read reads an answer.
func read(status string, text []byte) ([]Sample, error) {
	var refusal metav1.Status
	if json.Unmarshal(text, &refusal) == nil && refusal.Kind == "Status" {
		return nil, &apierrors.StatusError{ErrStatus: refusal}
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
