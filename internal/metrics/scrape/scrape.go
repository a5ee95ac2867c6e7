package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/edge"
)

// profileName is the file in which the profile is kept.
const profileName = "profile"

// Needs are what a Scraper needs.
type Needs struct {
	// Config reaches the member's API server.
	Config *rest.Config
	// Dir is where it keeps what to measure.
	Dir string
	// Put keeps a request.
	Put func([]byte) error
	// Every is how often it measures; the default is edge.Every of the profile.
	Every time.Duration
	Now   func() time.Time
	Log   *slog.Logger
}

// Scraper measures a cluster.
type Scraper struct {
	Needs
	client  *kubernetes.Clientset
	led     rest.Interface // for pods that lead to another path of theirs
	changed chan struct{}

	patience time.Duration // how long one source may take
	turns    turns
	together places             // of sources of the round
	apart    places             // of all others
	noted    map[edge.Note]bool // of monitors, what does not count
	tokens   tokens

	mu      sync.Mutex
	profile v1alpha1.MetricsProfile
}

// New returns a Scraper that measures what it was told before.
func New(n Needs) (*Scraper, error) {
	config := rest.CopyConfig(n.Config)
	config.QPS, config.ContentType, config.AcceptContentTypes = -1, "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	client, err := clientOf(config, nowhere)
	if err != nil {
		return nil, fmt.Errorf("preparing to measure the cluster: %w", err)
	}
	led, err := clientOf(config, within)
	if err != nil {
		return nil, fmt.Errorf("preparing to measure the cluster's pods: %w", err)
	}
	s := &Scraper{Needs: n, client: client, led: led.CoreV1().RESTClient(), changed: make(chan struct{}, 1), patience: sourceTimeout, turns: newTurns(), together: newPlaces(), apart: newPlaces()}
	kept, err := os.ReadFile(s.file())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading what to measure: %w", err)
	}
	s.profile = known(string(kept))
	return s, nil
}

// known returns a profile; Off for what this version does not know.
func known(text string) v1alpha1.MetricsProfile {
	switch p := v1alpha1.MetricsProfile(text); p {
	case v1alpha1.MetricsMinimal, v1alpha1.MetricsStandard, v1alpha1.MetricsFull:
		return p
	}
	return v1alpha1.MetricsOff
}

func (s *Scraper) file() string { return filepath.Join(s.Dir, profileName) }

// Tell says what to measure from now on; it begins at once. What a hub says that knows of no metrics is nothing: Off.
func (s *Scraper) Tell(profile string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known(profile) == s.profile {
		return
	}
	s.profile = known(profile)
	err := os.MkdirAll(s.Dir, 0o700)
	if err == nil {
		err = renameio.WriteFile(s.file(), []byte(s.profile), 0o600)
	}
	if err != nil {
		s.Log.Error("what to measure cannot be kept: it is forgotten when the agent ends", "error", err)
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *Scraper) now() v1alpha1.MetricsProfile {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.profile
}

// Run measures until ctx ends; then it returns nil.
func (s *Scraper) Run(ctx context.Context) error {
	defer s.turns.running.Wait()
	for ctx.Err() == nil {
		profile := s.now()
		wait := time.Hour // as long as there is nothing to measure
		if profile == v1alpha1.MetricsOff {
			if err := s.end(); err != nil {
				s.Log.Error("what is not measured any more is found for five minutes more", "error", err)
			}
		} else {
			wait = s.due(ctx, profile)
		}
		next := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.changed:
			s.turns.now()
		case <-s.turns.news:
		case <-next.C:
		}
		next.Stop()
	}
	return nil
}

// every is how often all is measured that nobody says another interval of.
func (s *Scraper) every(profile v1alpha1.MetricsProfile) time.Duration {
	if s.Every > 0 {
		return s.Every
	}
	return edge.Every(profile)
}

// Round measures once, all but what has an interval of its own. The error says that something could not be kept; a source that does not answer is none.
func (s *Scraper) Round(ctx context.Context, profile v1alpha1.MetricsProfile) error {
	b := newBatch(s.Put, s.turns.round.before)
	defer func() { s.turns.round.before.failed = b.now.failed }()
	objects := &state{client: s.client, profile: profile, batch: b, at: s.Now()}
	nodes, err := objects.nodes(ctx)
	for _, read := range []func(context.Context) error{objects.pods, objects.deployments, objects.quotas, objects.teams} {
		if err == nil {
			err = read(ctx)
		}
	}
	known := err == nil
	if known {
		s.note(objects.watched)
		objects.targets = s.turns.take(objects.targets, s.every(profile))
	} else { // those of other intervals are asked as before
		objects.targets = slices.DeleteFunc(objects.targets, func(t edge.Target) bool { return t.Apart(s.every(profile)) })
	}
	if err := s.ended(b, source{job: edge.State, instance: "objects"}, objects.at, b.sent, err); err != nil {
		return err
	}
	if err := s.askAll(ctx, b, append(s.ofAPIServers(ctx, profile), s.ofNodes(nodes, profile)...), s.ofPods(objects.targets)); err != nil {
		return err
	}
	return s.close(ctx, b, &s.turns.round.before, known)
}

// close says what has ended, and has what was said now be what was said before.
func (s *Scraper) close(ctx context.Context, b *batch, before *past, known bool) error {
	if ctx.Err() != nil { // who was not asked has not ended: whoever is started next asks
		return ctx.Err()
	}
	if err := b.ends(s.Now(), known); err != nil {
		return err
	}
	if err := b.flush(); err != nil {
		return err
	}
	*before = b.now
	return nil
}

// note says in the log what of monitors does not count, once.
func (s *Scraper) note(watched *edge.Watch) {
	noted := map[edge.Note]bool{}
	if watched != nil {
		for _, n := range watched.Notes {
			if noted[n] = true; !s.noted[n] {
				s.Log.Warn("something that a monitor says does not count as it is written", "monitor", n.Object, "field", n.Field, "why", n.Why)
			}
		}
	}
	s.noted = noted
}

// read returns what is kept of a source. What is dropped is never in memory.
func (s *Scraper) read(ctx context.Context, api rest.Interface, path string, rules edge.Rules) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	body, err := api.Get().AbsPath(path).SetHeader("Accept", accept).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	kept, err := rules.Lines(body)
	io.Copy(io.Discard, io.LimitReader(body, 64<<10)) //nolint:errcheck // what is left unread costs the connection
	return kept, err
}

// ended adds how it went with a source, and says so in the log when that is news.
func (s *Scraper) ended(b *batch, from source, at time.Time, added int, err error) error {
	before := b.before.failed[from]
	if err != nil {
		b.now.failed[from] = true
	}
	if err != nil && !before {
		s.Log.Warn("a source of metrics does not answer", "job", from.job, "instance", from.instance, "error", err)
	}
	if err == nil && before {
		s.Log.Info("a source of metrics answers again", "job", from.job, "instance", from.instance)
	}
	of := from.own()
	if err := b.gauge(at, one(err == nil), "up", of...); err != nil {
		return err
	}
	return b.gauge(at, float64(added), "scrape_samples_scraped", of...)
}

// apiServers are the member's API servers, by their names. Of several each is asked by itself: through one address it would be now
// this one that answers, now that one, and no counter would hold.
func (s *Scraper) apiServers(ctx context.Context) map[string]rest.Interface {
	alone := map[string]rest.Interface{"apiserver": s.client.RESTClient()}
	slices, err := s.client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return alone
	}
	found := map[string]rest.Interface{}
	for _, slice := range slices.Items {
		for _, port := range slice.Ports {
			for _, endpoint := range slice.Endpoints {
				for _, address := range endpoint.Addresses {
					if port.Port != nil {
						s.apiServer(found, net.JoinHostPort(address, strconv.Itoa(int(*port.Port))))
					}
				}
			}
		}
	}
	if len(found) < 2 {
		return alone
	}
	return found
}

// inside is a name that the certificate of every API server has.
const inside = "kubernetes.default.svc"

func (s *Scraper) apiServer(into map[string]rest.Interface, address string) {
	config := rest.CopyConfig(s.Config)
	config.QPS, config.Host = -1, "https://"+address
	config.ServerName = inside
	client, err := clientOf(config, nowhere)
	if err != nil { // the config is good, and so is the address
		s.Log.Error("preparing to ask an API server", "address", address, "error", err)
		return
	}
	into[address] = client.RESTClient()
}
