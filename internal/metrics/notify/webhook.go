package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"
)

const (
	// repeat is how often a webhook is told of an alert that goes on.
	repeat = 4 * time.Hour
	// quick and slow are how long after a failure it is tried again: twice as long each time.
	quick, slow = time.Second, 5 * time.Minute
	// batch is how many alerts one message has at most.
	batch = 64
	// most is of how many alerts one webhook is told at a time; what is more is told later.
	most = 10_000
)

// hook is one URL.
type hook struct {
	url, hub, fleet string
	web             *http.Client
	now             func() time.Time
	log             *slog.Logger
	wake            chan struct{}
	ended           chan struct{}
	once            sync.Once

	mu     sync.Mutex
	states map[uint64]*told
}

// told is an alert, and what the webhook was told of it.
type told struct {
	alert alert
	ends  time.Time // when it is over unless it is heard of again
	at    time.Time // when it was told last; zero when never
	done  string    // the status that was told
}

// alert is one in a message.
type alert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

// message is what an Alertmanager sends to webhooks.
type message struct {
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Status            string            `json:"status"`
	Receiver          string            `json:"receiver"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Alerts            []alert           `json:"alerts"`
}

const firing, resolved = "firing", "resolved"

func newHook(url, hub, fleet string, web *http.Client, now func() time.Time, log *slog.Logger) *hook {
	return &hook{url: url, hub: hub, fleet: fleet, web: web, now: now, log: log, wake: make(chan struct{}, 1), ended: make(chan struct{}), states: map[uint64]*told{}}
}

// host is what may be said of the URL: the rest may be a secret.
func (h *hook) host() string {
	at, err := url.Parse(h.url)
	if err != nil {
		return ""
	}
	return at.Host
}

func (h *hook) stop() { h.once.Do(func() { close(h.ended) }) }

// hear notes how alerts are now.
func (h *hook) hear(alerts []*rules.Alert) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range alerts {
		key := a.Labels.Hash()
		state := h.states[key]
		if state == nil {
			if !a.ResolvedAt.IsZero() || len(h.states) >= most {
				continue // nobody was told of it, or will be with the next round
			}
			state = &told{}
			h.states[key] = state
		}
		state.alert = alert{
			Status: firing, Labels: a.Labels.Map(), Annotations: a.Annotations.Map(), StartsAt: a.FiredAt, GeneratorURL: h.hub, Fingerprint: fmt.Sprintf("%016x", key),
		}
		state.alert.Labels[fleetLabel] = h.fleet
		state.ends = a.ValidUntil
		if !a.ResolvedAt.IsZero() {
			state.alert.Status, state.alert.EndsAt = resolved, a.ResolvedAt
		}
	}
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// due are the alerts that are to be told, at most a batch of one name. A rule that is gone says nothing of its alerts any more: they are over.
func (h *hook) due() (keys []uint64, alerts []alert) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	name := ""
	for _, key := range slices.Sorted(maps.Keys(h.states)) {
		s := h.states[key]
		if s.alert.Status == firing && !s.ends.IsZero() && now.After(s.ends) {
			s.alert.Status, s.alert.EndsAt = resolved, s.ends
		}
		if s.alert.Status == resolved && s.at.IsZero() { // it came and went untold
			delete(h.states, key)
			continue
		}
		if s.done == s.alert.Status && now.Sub(s.at) < repeat {
			continue
		}
		if name == "" {
			name = s.alert.Labels[labels.AlertName]
		}
		if s.alert.Labels[labels.AlertName] == name && len(alerts) < batch {
			keys, alerts = append(keys, key), append(alerts, s.alert)
		}
	}
	return keys, alerts
}

// settle notes what was told.
func (h *hook) settle(keys []uint64, alerts []alert) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, key := range keys {
		s := h.states[key]
		if s == nil {
			continue
		}
		s.at, s.done = h.now(), alerts[i].Status
		if alerts[i].Status == resolved && s.alert.Status == resolved {
			delete(h.states, key)
		}
	}
}

// run tells what is due until ctx ends or the webhook is not named any more.
func (h *hook) run(ctx context.Context) {
	wait, failed := time.Minute, false
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		woken := h.wake
		if failed {
			woken = nil // what is new waits for its turn as well
		}
		select {
		case <-ctx.Done():
			return
		case <-h.ended:
			return
		case <-woken:
		case <-timer.C:
		}
		if err := h.all(ctx); err == nil {
			wait, failed = time.Minute, false
		} else {
			if ctx.Err() != nil {
				return
			}
			if !failed {
				wait = quick / 2
				h.log.Error("a webhook was not told of alerts: it is tried again", "host", h.host(), "error", err)
			}
			wait, failed = min(2*wait, slow), true
		}
		timer.Reset(wait)
	}
}

// all tells what is due.
func (h *hook) all(ctx context.Context) error {
	for {
		keys, alerts := h.due()
		if len(keys) == 0 {
			return nil
		}
		if err := h.post(ctx, alerts); err != nil {
			return err
		}
		h.settle(keys, alerts)
	}
}

func (h *hook) post(ctx context.Context, alerts []alert) error {
	name := alerts[0].Labels[labels.AlertName]
	m := message{
		Version: "4", GroupKey: fmt.Sprintf("{}:{%s=%q}", labels.AlertName, name), Status: resolved, Receiver: "umbel", GroupLabels: map[string]string{labels.AlertName: name},
		CommonLabels: common(alerts, func(a alert) map[string]string { return a.Labels }), CommonAnnotations: common(alerts, func(a alert) map[string]string { return a.Annotations }),
		ExternalURL: h.hub, Alerts: alerts,
	}
	for _, a := range alerts {
		if a.Status == firing {
			m.Status = firing
		}
	}
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("its URL cannot be used")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "umbel")
	response, err := h.web.Do(request)
	if err != nil {
		if wrapped, is := err.(*url.Error); is {
			err = wrapped.Err // without the URL
		}
		return err
	}
	defer response.Body.Close()
	io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20)) //nolint:errcheck // so that the connection is used again
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("it answered %s", response.Status)
	}
	return nil
}

// common are the pairs that all alerts have.
func common(alerts []alert, of func(alert) map[string]string) map[string]string {
	shared := maps.Clone(of(alerts[0]))
	for _, a := range alerts[1:] {
		maps.DeleteFunc(shared, func(key, value string) bool { return of(a)[key] != value })
	}
	return shared
}
