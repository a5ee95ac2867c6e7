package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/settings"
)

// maxAnswer is how many bytes an answer of an outside store may have.
const maxAnswer = 256 << 20

// backend is an outside store that answers queries in the place of the hub's own.
type backend struct {
	settings.Backend
	client *http.Client
}

// Apply has queries answered by the store that the settings name, or by the hub's own.
func (a *API) Apply(s *settings.Settings) error {
	if s.Backend == nil {
		a.backend.Store(nil)
		return nil
	}
	client, err := promconfig.NewClientFromConfig(s.Backend.HTTPClientConfig, "umbel")
	if err != nil {
		return fmt.Errorf("backend.yml: %w", err)
	}
	a.backend.Store(&backend{*s.Backend, client})
	return nil
}

// forwarded are what an outside store answers; rules and alerts are the hub's, and so is what it says of itself.
func forwarded(at string) bool {
	return slices.Contains([]string{"query", "query_range", "series", "labels", "metadata"}, at) || strings.HasPrefix(at, "label/") && strings.HasSuffix(at, "/values")
}

// forward has a request answered by an outside store, about these clusters alone where any are named.
func (a *API) forward(ctx context.Context, b *backend, at string, form url.Values, clusters []v1alpha1.ClusterName) (answer, error) {
	if len(clusters) > 0 {
		if at == "metadata" { // it tells of everything, and cannot be asked about some
			return answer{data: map[string][]metricType{}}, nil
		}
		var err error
		if form, err = a.restrict(at, form, clusters); err != nil {
			return answer{}, err
		}
	}
	form.Del("cluster") // it is the hub's
	method, target, body := http.MethodPost, strings.TrimSuffix(b.URL, "/")+Prefix+at, io.Reader(strings.NewReader(form.Encode()))
	if strings.HasPrefix(at, "label/") || at == "metadata" { // these take no POST
		method, target, body = http.MethodGet, target+"?"+form.Encode(), nil
	}
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return answer{}, away(errors.New("its URL cannot be used"))
	}
	for name, value := range b.Headers {
		request.Header.Set(name, value)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := b.client.Do(request)
	if err != nil {
		if wrapped, is := errors.AsType[*url.Error](err); is {
			err = wrapped.Err // without the URL
		}
		return answer{}, away(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return answer{}, away(err)
	}
	if len(raw) > maxAnswer {
		return answer{}, away(fmt.Errorf("its answer is longer than %d bytes", maxAnswer))
	}
	var said struct {
		Status, ErrorType, Error string
		Data                     json.RawMessage
		Warnings                 []string
	}
	if err := json.Unmarshal(raw, &said); err != nil || said.Status == "" {
		return answer{}, away(fmt.Errorf("it answered %s, and not as Prometheus does", response.Status))
	}
	if said.Status != "success" {
		return answer{}, &problem{response.StatusCode, said.ErrorType, errors.New(said.Error)}
	}
	return answer{data: said.Data, said: said.Warnings}, nil
}

// away says that the outside store does not answer as it should.
func away(err error) error {
	return &problem{http.StatusBadGateway, "unavailable", fmt.Errorf("the store that answers queries for this hub (backend.yml of the Secret %s): %w", settings.Secret, err)}
}

// restrict has a request be about these clusters alone: every selector in it gets the matcher, as the store is asked by the hub, which may see all.
func (a *API) restrict(at string, form url.Values, clusters []v1alpha1.ClusterName) (url.Values, error) {
	matcher := of(nil, clusters).(only).matcher
	restricted := url.Values{}
	for name, values := range form {
		restricted[name] = values
	}
	if at == "query" || at == "query_range" {
		expr, err := a.parser.ParseExpr(form.Get("query"))
		if err != nil {
			return nil, badly("query", err)
		}
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if selector, is := node.(*parser.VectorSelector); is {
				selector.LabelMatchers = append(selector.LabelMatchers, matcher)
			}
			return nil
		})
		restricted.Set("query", expr.String())
		return restricted, nil
	}
	sets, err := a.selectors(form)
	if err != nil {
		return nil, err
	}
	if len(sets) == 0 {
		sets = [][]*labels.Matcher{nil}
	}
	restricted.Del("match[]")
	for _, set := range sets {
		selector := parser.VectorSelector{LabelMatchers: append(slices.Clone(set), matcher)}
		restricted.Add("match[]", selector.String())
	}
	return restricted, nil
}
