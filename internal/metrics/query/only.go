package query

import (
	"context"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"umbel.dev/umbel/api/v1alpha1"
)

// of returns a database in which there is nothing but what is about these clusters; all of it where none is named.
func of(all storage.Queryable, clusters []v1alpha1.ClusterName) storage.Queryable {
	if len(clusters) == 0 {
		return all
	}
	names := make([]string, len(clusters))
	for i, name := range clusters { // they are DNS labels, as the caller has made sure
		names[i] = string(name)
	}
	slices.Sort(names)
	return only{all, labels.MustNewMatcher(labels.MatchRegexp, "cluster", strings.Join(names, "|"))}
}

type only struct {
	all     storage.Queryable
	matcher *labels.Matcher
}

// Querier implements storage.Queryable.
func (o only) Querier(mint, maxt int64) (storage.Querier, error) {
	all, err := o.all.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return onlyQuerier{all, o.matcher}, nil
}

type onlyQuerier struct {
	all     storage.Querier
	matcher *labels.Matcher
}

func (q onlyQuerier) with(matchers []*labels.Matcher) []*labels.Matcher {
	return append(slices.Clone(matchers), q.matcher)
}

// Select implements storage.Querier.
func (q onlyQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	return q.all.Select(ctx, sorted, hints, q.with(matchers)...)
}

// LabelValues implements storage.LabelQuerier.
func (q onlyQuerier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.all.LabelValues(ctx, name, hints, q.with(matchers)...)
}

// LabelNames implements storage.LabelQuerier.
func (q onlyQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.all.LabelNames(ctx, hints, q.with(matchers)...)
}

// Close implements storage.LabelQuerier.
func (q onlyQuerier) Close() error { return q.all.Close() }
