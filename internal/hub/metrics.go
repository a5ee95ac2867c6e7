package hub

import (
	"context"
	"path/filepath"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/metrics/facts"
	"umbel.dev/umbel/internal/metrics/notify"
	"umbel.dev/umbel/internal/metrics/onward"
	"umbel.dev/umbel/internal/metrics/query"
	"umbel.dev/umbel/internal/metrics/rules"
	"umbel.dev/umbel/internal/metrics/settings"
	"umbel.dev/umbel/internal/metrics/spread"
	"umbel.dev/umbel/internal/metrics/store"
	"umbel.dev/umbel/internal/version"
)

// measured is what the fleet measures: what agents write, and how people ask for it.
type measured struct {
	*store.Store
	*query.API
}

// OnwardDir is where what is to be written on to other stores waits.
func OnwardDir(home string) string { return filepath.Join(Dir(home), "metrics-onward") }

// MetricsDir is where the hub keeps what the fleet measures.
func MetricsDir(home string) string { return filepath.Join(Dir(home), "metrics") }

// SpreadDir is where what agents sent to this replica waits for the others.
func SpreadDir(home string) string { return filepath.Join(Dir(home), "metrics-replicas") }

// openMetrics opens them. A hub whose metrics cannot be opened does all else.
func (h *hub) openMetrics(context.Context) error {
	h.onward = onward.New(OnwardDir(h.Home), h.Log)
	config := store.Config{
		Dir: MetricsDir(h.Home), Retention: h.MetricsRetention, Size: h.MetricsSize, Now: time.Now, Log: h.Log, Onward: h.onward, Leads: h.replicas.Leads,
	}
	if h.replicas != nil {
		h.spread = spread.New()
		config.Spread = h.spread
	}
	kept, err := store.Open(config)
	if err != nil { // who decides what clusters hold matters more
		h.Log.Error("metrics are not kept until the hub starts again", "error", err)
		return nil
	}
	h.metrics = &measured{kept, query.New(query.Needs{Queryable: kept.Queryable(), Types: kept.Types, Version: version.Version, Now: time.Now, Log: h.Log})}
	return nil
}

// addRules evaluates rules, and tells of alerts, where metrics are kept. It goes without where somebody else owns the kind in a version that this
// hub does not know: what the hub knows of the fleet is among the metrics all the same.
func (h *hub) addRules(ctx context.Context) error {
	if h.metrics == nil {
		return nil
	}
	say := facts.Needs{Say: h.metrics.Say, End: h.metrics.End, Now: time.Now, Log: h.Log}
	err := installShared(ctx, h.api, deploy.Monitoring, deploy.PrometheusRuleCRD, rules.List(), client.InNamespace(v1alpha1.SystemNamespace))
	if err == nil {
		err = rules.Ship(ctx, h.api, deploy.Rules)
	}
	if err != nil {
		h.Log.Error("rules are not evaluated until the hub starts again (PrometheusRule of monitoring.coreos.com/v1)", "error", err)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return h.measure(say)
	}
	fleet, err := fleetOf(ctx, h.api)
	if err != nil {
		return err
	}
	at := "https://" + h.state.Address
	told := notify.New(notify.Needs{Fleet: fleet.Name, URL: at, Leads: h.replicas.Leads, Now: time.Now, Log: h.Log})
	engine, err := rules.NewEngine(ctx, rules.Needs{
		Queryable: h.metrics.Queryable(), Appendable: h.metrics.Store, Engine: query.NewEngine(h.Log), Notify: told.Notify, URL: at, Log: h.Log,
	})
	if err != nil {
		return err
	}
	controller, err := rules.Setup(h.manager, engine)
	if err != nil {
		return err
	}
	h.metrics.Groups, say.More = engine.Groups, controller.Facts
	if err := h.manager.Add(told); err != nil {
		return err
	}
	return h.measure(say, told.Apply)
}

// addSpread has the other replicas get what agents send to this one.
func (h *hub) addSpread(context.Context) error {
	if h.metrics == nil || h.replicas == nil {
		return nil
	}
	needs := spread.Needs{Dir: SpreadDir(h.Home), Alive: h.replicas.Alive, To: h.gateway.ToMetrics(), Now: time.Now, Log: h.Log}
	return h.manager.Add(onEach(func(ctx context.Context) error { return h.spread.Run(ctx, needs) }))
}

// onEach runs on each replica, and not on the one that leads alone.
type onEach func(context.Context) error

func (f onEach) Start(ctx context.Context) error { return f(ctx) }

func (onEach) NeedLeaderElection() bool { return false }

// measure adds what the hub knows to the metrics, and has those who follow the settings do so; all is written on to where they say.
func (h *hub) measure(say facts.Needs, follow ...func(*settings.Settings) error) error {
	if err := h.manager.Add(h.onward); err != nil {
		return err
	}
	if err := settings.Setup(h.manager, h.Log, append(follow, h.onward.Apply, h.metrics.Apply)...); err != nil {
		return err
	}
	return facts.Setup(h.manager, say)
}
