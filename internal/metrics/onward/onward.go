package onward

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"

	"umbel.dev/umbel/internal/metrics/queue"
	"umbel.dev/umbel/internal/metrics/request"
	"umbel.dev/umbel/internal/metrics/settings"
	"umbel.dev/umbel/internal/metrics/store"
)

const (
	// size is how many bytes wait for one receiver at most: 100,000 series at 30 s fill it in some hours.
	size = 1 << 30
	// every is how often what was measured is put into a request, and batch how many samples one has.
	every, batch = time.Second, 5_000
	// waiting is how many requests are in memory until the disk has them; who measures waits beyond that.
	waiting = 64
)

// Onward writes on. It is safe for concurrent use.
type Onward struct {
	dir    string
	log    *slog.Logger
	wanted atomic.Bool

	mu    sync.Mutex
	ctx   context.Context // of Start; nil before
	ended sync.WaitGroup
	to    map[string]*receiver // by the sum of its configuration
}

// New returns an Onward that keeps what waits in a folder, and writes to nobody yet.
func New(dir string, log *slog.Logger) *Onward {
	return &Onward{dir: dir, log: log, to: map[string]*receiver{}}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: each replica has all that is measured.
func (*Onward) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: it writes until ctx ends.
func (o *Onward) Start(ctx context.Context) error {
	o.mu.Lock()
	o.ctx = ctx
	for _, r := range o.to {
		o.run(r)
	}
	o.mu.Unlock()
	<-ctx.Done()
	o.ended.Wait()
	return nil
}

func (o *Onward) run(r *receiver) {
	ctx, cancel := context.WithCancel(o.ctx)
	r.stop = cancel
	o.ended.Go(func() { r.run(ctx) })
}

// Apply has the receivers follow the settings. What waits for one that is not named any more is thrown away.
func (o *Onward) Apply(s *settings.Settings) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := map[string]*receiver{}
	var problems []error
	for i, c := range s.Prometheus.RemoteWriteConfigs {
		key, err := sum(c)
		if err == nil && o.to[key] != nil {
			now[key] = o.to[key]
			continue
		}
		var r *receiver
		if err == nil {
			r, err = o.open(key, c, s.Prometheus.GlobalConfig.ExternalLabels)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("remote_write[%d]: %w", i, err))
			continue
		}
		now[key] = r
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	for key, r := range o.to {
		if now[key] == nil && r.stop != nil {
			r.stop()
		}
	}
	for key, r := range now {
		if o.to[key] == nil && o.ctx != nil {
			o.run(r)
		}
	}
	o.to = now
	o.wanted.Store(len(now) > 0)
	return o.sweep()
}

// sweep removes the folders of receivers that are not named any more.
func (o *Onward) sweep() error {
	folders, err := os.ReadDir(o.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading what waits to be written on: %w", err)
	}
	for _, folder := range folders {
		if o.to[folder.Name()] == nil {
			if err := os.RemoveAll(filepath.Join(o.dir, folder.Name())); err != nil {
				return fmt.Errorf("removing what waited for a receiver that is not named any more: %w", err)
			}
		}
	}
	return nil
}

// sum tells one configuration from another.
func sum(c *config.RemoteWriteConfig) (string, error) {
	text, err := yaml.Marshal(c)
	if err != nil {
		return "", err
	}
	hidden := c.URL.String() // secrets are not written, nor a password in an URL
	if c.HTTPClientConfig.BasicAuth != nil {
		hidden += string(c.HTTPClientConfig.BasicAuth.Password)
	}
	if c.HTTPClientConfig.Authorization != nil {
		hidden += string(c.HTTPClientConfig.Authorization.Credentials)
	}
	hash := sha256.Sum256(append(text, hidden+c.HTTPClientConfig.TLSConfig.CA+string(c.HTTPClientConfig.TLSConfig.Key)+string(c.HTTPClientConfig.BearerToken)...))
	return hex.EncodeToString(hash[:8]), nil
}

// Wanted implements store.Onward: it says whether there is a receiver.
func (o *Onward) Wanted() bool { return o.wanted.Load() }

// Take takes samples that were kept.
func (o *Onward) Take(samples []store.Sample) {
	if len(samples) == 0 {
		return
	}
	o.mu.Lock()
	to := slices.Collect(maps.Values(o.to))
	o.mu.Unlock()
	for _, r := range to {
		r.take(samples)
	}
}

// encoder writes samples down in one of the two versions of the protocol.
type encoder interface {
	Samples() int
	Take() []byte
}

// receiver is one of them.
type receiver struct {
	who      string
	relabel  []*relabel.Config
	external labels.Labels
	queue    *queue.Queue
	to       queue.To
	log      *slog.Logger
	stop     context.CancelFunc

	mu   sync.Mutex
	body encoder
	add  func(set []request.Label, millis int64, value float64)
	set  []request.Label
	full [][]byte   // requests that are to be written to the folder
	room *sync.Cond // there are fewer of them
	more chan struct{}
	over bool // nobody writes any more
}

func (o *Onward) open(key string, c *config.RemoteWriteConfig, external labels.Labels) (*receiver, error) {
	if c.SigV4Config != nil || c.AzureADConfig != nil || c.GoogleIAMConfig != nil {
		return nil, errors.New("sigv4, azuread and google_iam are not known here: name basic_auth, authorization, oauth2 or tls_config")
	}
	web, err := promconfig.NewClientFromConfig(c.HTTPClientConfig, "umbel")
	if err != nil {
		return nil, err
	}
	web.Timeout = time.Duration(c.RemoteTimeout)
	r := &receiver{who: c.URL.Host, relabel: c.WriteRelabelConfigs, external: external, log: o.log, more: make(chan struct{}, 1)}
	r.room = sync.NewCond(&r.mu)
	header := http.Header{}
	for name, value := range c.Headers {
		header.Set(name, value)
	}
	header.Set("Content-Encoding", request.ContentEncoding)
	header.Set("User-Agent", "umbel")
	if string(c.ProtobufMessage) == "io.prometheus.write.v2.Request" {
		body := &request.Builder{}
		r.body, r.add = body, func(set []request.Label, millis int64, value float64) {
			body.Add(set, request.Unspecified, millis, value)
		}
		header.Set("Content-Type", request.ContentType)
		header.Set("X-Prometheus-Remote-Write-Version", request.Version)
	} else {
		body := &request.First{}
		r.body, r.add = body, body.Add
		header.Set("Content-Type", request.FirstContentType)
		header.Set("X-Prometheus-Remote-Write-Version", request.FirstVersion)
	}
	r.to = queue.To{Who: c.URL.Host, URL: c.URL.String(), Header: header, Client: web}
	if r.queue, err = queue.Open(filepath.Join(o.dir, key), size, o.log.With("part", "remote write", "to", c.URL.Host)); err != nil {
		return nil, err
	}
	return r, nil
}

// run puts what was taken into requests, and sends them, until ctx ends.
func (r *receiver) run(ctx context.Context) {
	var sending sync.WaitGroup
	sending.Go(func() { _ = r.queue.SendTo(ctx, r.to) }) // it ends with ctx, and never with an error
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.write(r.end())
			sending.Wait()
			return
		case <-tick.C:
			r.write(r.due())
		case <-r.more:
			r.write(r.whole())
		}
	}
}

// whole returns the requests that are full, and has there be room for others.
func (r *receiver) whole() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken()
}

// due returns all that was measured until now.
func (r *receiver) due() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if body := r.body.Take(); body != nil {
		r.full = append(r.full, body)
	}
	return r.taken()
}

// end does so for the last time: nobody waits for room any more.
func (r *receiver) end() [][]byte {
	last := r.due()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	r.room.Broadcast()
	return append(last, r.full...)
}

func (r *receiver) taken() [][]byte {
	full := r.full
	r.full = nil
	r.room.Broadcast()
	return full
}

// write writes requests to the folder. The disk may take its time: nobody who measures waits for it.
func (r *receiver) write(bodies [][]byte) {
	for _, body := range bodies {
		if err := r.queue.Put(body); err != nil {
			r.log.Error("what was measured is not written on", "to", r.who, "error", err)
		}
	}
}

// take adds samples to the request.
func (r *receiver) take(samples []store.Sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range samples {
		set := samples[i].Labels
		if !r.external.IsEmpty() {
			b := labels.NewBuilder(set)
			r.external.Range(func(l labels.Label) {
				if set.Get(l.Name) == "" {
					b.Set(l.Name, l.Value)
				}
			})
			set = b.Labels()
		}
		if len(r.relabel) > 0 {
			b := labels.NewBuilder(set)
			if !relabel.ProcessBuilder(b, r.relabel...) {
				continue
			}
			if set = b.Labels(); set.IsEmpty() {
				continue
			}
		}
		r.set = r.set[:0]
		set.Range(func(l labels.Label) { r.set = append(r.set, request.Label{Name: l.Name, Value: l.Value}) })
		r.add(r.set, samples[i].Millis, samples[i].Value)
		if r.body.Samples() >= batch {
			r.put()
		}
	}
}

// put has the request be written to the folder, once there is room for it in memory. The caller holds the lock.
func (r *receiver) put() {
	for len(r.full) >= waiting && !r.over {
		r.room.Wait()
	}
	body := r.body.Take()
	if body == nil || r.over { // somebody was quicker, or nobody writes it
		return
	}
	r.full = append(r.full, body)
	select {
	case r.more <- struct{}{}:
	default:
	}
}
