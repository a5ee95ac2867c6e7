package rules

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
)

const (
	// interval is how often a group is evaluated that does not say so.
	interval = time.Minute
	// outage and grace are Prometheus' defaults: an alert that was pending for a while goes on where it was when the hub was away for less than an
	// hour, and fires ten minutes after the start at the earliest.
	outage, grace = time.Hour, 10 * time.Minute
	// resend is how often Alertmanagers are told of an alert that goes on.
	resend = time.Minute
)

// Needs are what evaluating takes.
type Needs struct {
	// Queryable and Appendable are the database, Engine evaluates.
	Queryable  storage.Queryable
	Appendable storage.Appendable
	Engine     *promql.Engine
	// Notify is told of alerts.
	Notify rules.NotifyFunc
	// URL is where the hub is reached.
	URL string
	Log *slog.Logger
}

// Engine evaluates groups of rules. It is safe for concurrent use.
type Engine struct {
	manager *rules.Manager
	parser  parser.Parser
	url     string

	mu     sync.Mutex
	groups map[string]*rulefmt.RuleGroups // of each object, by NAMESPACE/NAME
}

// NewEngine returns an Engine without rules. What it evaluates once it runs, ctx bounds.
func NewEngine(ctx context.Context, n Needs) (*Engine, error) {
	at, err := url.Parse(n.URL)
	if err != nil {
		return nil, fmt.Errorf("the hub's URL: %w", err)
	}
	e := &Engine{parser: parser.NewParser(parser.Options{}), url: n.URL, groups: map[string]*rulefmt.RuleGroups{}}
	e.manager = rules.NewManager(&rules.ManagerOptions{
		Context: ctx, ExternalURL: at, QueryFunc: rules.EngineQueryFunc(n.Engine, n.Queryable), NotifyFunc: n.Notify,
		Appendable: n.Appendable, Queryable: n.Queryable, Logger: n.Log.With("part", "rules"), Parser: e.parser, GroupLoader: loader{e},
		OutageTolerance: outage, ForGracePeriod: grace, ResendDelay: resend, RestoreNewRuleGroups: true, NameValidationScheme: model.UTF8Validation,
	})
	return e, nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: each replica has all that is measured.
func (*Engine) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: it evaluates until ctx ends.
func (e *Engine) Start(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.manager.Run()
	}()
	<-ctx.Done()
	e.manager.Stop()
	<-ended
	return nil
}

// Take has the groups of an object evaluated from now on; none when they are nil.
func (e *Engine) Take(object string, groups *rulefmt.RuleGroups) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if groups == nil {
		delete(e.groups, object)
	} else {
		e.groups[object] = groups
	}
	return e.manager.Update(interval, slices.Sorted(maps.Keys(e.groups)), labels.EmptyLabels(), e.url, nil)
}

// Groups are those that are evaluated, in the order of their objects and names.
func (e *Engine) Groups() []*rules.Group { return e.manager.RuleGroups() }

// loader gives the manager what was read already.
type loader struct{ *Engine }

// Load implements rules.GroupLoader.
func (l loader) Load(object string, _ bool, _ model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	return l.groups[object], nil // Take asks, and has the lock
}

// Parse implements rules.GroupLoader.
func (l loader) Parse(query string) (parser.Expr, error) { return l.parser.ParseExpr(query) }
