package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"

	"umbel.dev/umbel/api/v1alpha1"
)

// Holds says whether a condition holds of these clusters, now: a query whose answer is not empty, as that of an alert that fires, or a
// number that is neither 0 nor NaN. It takes its turn among people's queries, until the context ends, and needs one cluster at least.
func (a *API) Holds(ctx context.Context, query string, clusters []v1alpha1.ClusterName) (bool, error) {
	if len(clusters) == 0 {
		return false, errors.New("no cluster is named that the query is about")
	}
	if err := a.condition(query); err != nil {
		return false, err
	}
	select {
	case a.turns <- struct{}{}:
		defer func() { <-a.turns }()
	case <-ctx.Done():
		return false, errors.New("there was no turn for the query: too much is being asked of the hub's metrics")
	}
	form := url.Values{"query": {query}}
	ask := func() (answer, error) { return a.instant(ctx, form, of(a.Queryable, clusters)) }
	if outside := a.backend.Load(); outside != nil {
		ask = func() (answer, error) { return a.forward(ctx, outside, "query", form, clusters) }
	}
	got, err := ask()
	if err != nil {
		return false, err
	}
	raw, err := json.Marshal(got.data)
	if err != nil {
		return false, fmt.Errorf("reading the answer of the query: %w", err)
	}
	var said struct {
		ResultType parser.ValueType
		Result     []json.RawMessage
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		return false, fmt.Errorf("reading the answer of the query: %w", err)
	}
	if said.ResultType == parser.ValueTypeScalar { // its time, and the number as text
		if len(said.Result) != 2 {
			return false, errors.New("the answer of the query is no number")
		}
		number, err := strconv.ParseFloat(strings.Trim(string(said.Result[1]), `"`), 64)
		return err == nil && number != 0 && !math.IsNaN(number), err
	}
	return len(said.Result) > 0, nil
}

// condition says what keeps a query from being one.
func (a *API) condition(query string) error {
	expr, err := a.parser.ParseExpr(query)
	if err != nil {
		return fmt.Errorf("the query cannot be read: %w", err)
	}
	if kind := expr.Type(); kind != parser.ValueTypeVector && kind != parser.ValueTypeScalar {
		return fmt.Errorf("the query gives a %s, and is no condition: compare it with something", parser.DocumentedType(kind))
	}
	for {
		inner, is := expr.(*parser.ParenExpr)
		if !is {
			break
		}
		expr = inner.Expr
	}
	if compares, is := expr.(*parser.BinaryExpr); is && compares.ReturnBool && compares.Type() == parser.ValueTypeVector {
		return errors.New("the query has an answer whatever is compared: leave bool out, which makes it 0 or 1, of which both hold")
	}
	return nil
}
