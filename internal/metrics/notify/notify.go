package notify

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/rules"

	"umbel.dev/umbel/internal/metrics/settings"
)

// fleetLabel is the label of alerts that names the fleet, for Alertmanagers of several.
const fleetLabel = "fleet"

// Needs are what telling takes.
type Needs struct {
	// Fleet is its name, and URL where the hub is reached.
	Fleet, URL string
	// Leads says whether it is this replica that tells: each of several finds the same. Nil says so too.
	Leads func() bool
	Now   func() time.Time
	Log   *slog.Logger
}

// Notifier tells of alerts. It is safe for concurrent use.
type Notifier struct {
	Needs
	manager *notifier.Manager
	targets chan map[string][]*targetgroup.Group
	tell    rules.NotifyFunc // to Alertmanagers

	mu    sync.Mutex
	hooks map[string]*hook // by URL
	ctx   context.Context  // ends with Start; nil before
	ended sync.WaitGroup
}

// New returns a Notifier that tells nobody yet.
func New(n Needs) *Notifier {
	log := n.Log.With("part", "alerts")
	manager := notifier.NewManager(&notifier.Options{QueueCapacity: 10_000}, model.UTF8Validation, log)
	return &Notifier{
		Needs: n, manager: manager, targets: make(chan map[string][]*targetgroup.Group, 1), tell: rules.SendAlerts(manager, n.URL), hooks: map[string]*hook{},
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: each replica has all that is measured.
func (*Notifier) NeedLeaderElection() bool { return false }

// Start tells until ctx ends.
func (n *Notifier) Start(ctx context.Context) error {
	n.mu.Lock()
	n.ctx = ctx
	for _, h := range n.hooks {
		n.run(h)
	}
	n.mu.Unlock()
	n.ended.Go(func() { n.manager.Run(n.targets) })
	<-ctx.Done()
	n.manager.Stop()
	n.ended.Wait()
	return nil
}

// Apply has who is told follow the settings.
func (n *Notifier) Apply(s *settings.Settings) error {
	own := *s.Prometheus
	b := labels.NewBuilder(own.GlobalConfig.ExternalLabels)
	if own.GlobalConfig.ExternalLabels.Get(fleetLabel) == "" {
		b.Set(fleetLabel, n.Fleet)
	}
	own.GlobalConfig.ExternalLabels = b.Labels()
	if err := n.manager.ApplyConfig(&own); err != nil {
		return fmt.Errorf("alerting: %w", err)
	}
	select {
	case <-n.targets: // of the settings before, which nobody has taken
	default:
	}
	n.targets <- targets(own.AlertingConfig.AlertmanagerConfigs)
	n.mu.Lock()
	defer n.mu.Unlock()
	now := map[string]*hook{}
	for _, url := range s.Webhooks {
		h := n.hooks[url]
		if h == nil {
			h = newHook(url, n.URL, n.Fleet, &http.Client{Timeout: 10 * time.Second}, n.Now, n.Log)
			if n.ctx != nil {
				n.run(h)
			}
		}
		now[url] = h
	}
	for url, h := range n.hooks {
		if now[url] == nil {
			h.stop()
		}
	}
	n.hooks = now
	return nil
}

func (n *Notifier) run(h *hook) { n.ended.Go(func() { h.run(n.ctx) }) }

// targets are the Alertmanagers that are named one by one; a hub discovers none.
func targets(configs config.AlertmanagerConfigs) map[string][]*targetgroup.Group {
	all := map[string][]*targetgroup.Group{}
	for key, c := range configs.ToMap() {
		all[key] = []*targetgroup.Group{}
		for _, found := range c.ServiceDiscoveryConfigs {
			if named, is := found.(discovery.StaticConfig); is {
				all[key] = append(all[key], named...)
			}
		}
	}
	return all
}

// Notify tells of alerts that fire, or did. It implements rules.NotifyFunc.
func (n *Notifier) Notify(ctx context.Context, expr string, alerts ...*rules.Alert) {
	if n.Leads != nil && !n.Leads() {
		return
	}
	n.tell(ctx, expr, alerts...)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.hooks {
		h.hear(alerts)
	}
}
