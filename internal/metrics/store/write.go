package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"golang.org/x/time/rate"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/request"
	"umbel.dev/umbel/internal/metrics/spread"
)

// Write takes a request of Prometheus' remote write 2.0 that came from a cluster. It answers 204 when all of it is kept, 400 when some
// or all never will be, as the text says, 429 with Retry-After when it is to be sent again, and 500 likewise.
func (s *Store) Write(w http.ResponseWriter, r *http.Request, cluster v1alpha1.ClusterName) {
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != request.ContentType || r.Header.Get("Content-Encoding") != request.ContentEncoding {
		http.Error(w, "this takes a POST of "+request.ContentType+" in "+request.ContentEncoding, http.StatusUnsupportedMediaType)
		return
	}
	of := s.clusters.share(cluster)
	if !of.busy.TryLock() {
		again(w, time.Second, "another request of the cluster is under way")
		return
	}
	defer of.busy.Unlock()
	if tokens := of.budget.TokensAt(s.Now()); tokens < 1 {
		again(w, time.Duration((1-tokens)/float64(s.Limits.Rate)*float64(time.Second)), s.over(cluster))
		return
	}
	if !take(r.Context(), s.bodies) {
		return
	}
	defer func() { <-s.bodies }() // as long as the body is in memory
	body, err := read(w, r, request.MaxBody)
	if err != nil {
		again(w, time.Second, "the body did not come: "+err.Error())
		return
	}
	if !take(r.Context(), s.slots) {
		return
	}
	defer func() { <-s.slots }()
	done, err := s.keep(s.appender(r.Context()), cluster, of.budget, body)
	switch {
	case errors.Is(err, errBudget):
		again(w, time.Minute, s.over(cluster))
	case errors.Is(err, errDatabase):
		s.Log.Error("what a cluster measured was not kept: it is to send it again", "member", cluster, "error", err)
		http.Error(w, "the hub cannot keep this now; try again", http.StatusInternalServerError)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		if s.Spread != nil && done.kept > 0 {
			s.Spread.Put(cluster, body)
		}
		s.answer(w, cluster, done)
	}
}

// Take takes what agents sent to another replica of the hub, which kept it and asked how much each of them may send. It answers 204 when what may be kept is, 400 when none
// ever will be, and 500 when it is to be sent again.
func (s *Store) Take(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != spread.ContentType {
		http.Error(w, "this takes a POST of "+spread.ContentType, http.StatusUnsupportedMediaType)
		return
	}
	if !take(r.Context(), s.bodies) {
		return
	}
	defer func() { <-s.bodies }()
	raw, err := read(w, r, spread.MaxBody)
	if err != nil {
		again(w, time.Second, "the body did not come: "+err.Error())
		return
	}
	if !take(r.Context(), s.slots) {
		return
	}
	defer func() { <-s.slots }()
	err = spread.Read(raw, func(cluster v1alpha1.ClusterName, body []byte) error {
		_, err := s.keep(s.db.Appender(r.Context()), cluster, unlimited, body)
		if err != nil && !errors.Is(err, errDatabase) { // the other one has it, and is of another version
			s.Log.Warn("what another replica kept of a cluster is not kept", "member", cluster, "error", err)
			return nil
		}
		return err
	})
	switch {
	case errors.Is(err, errDatabase):
		s.Log.Error("what another replica was sent was not kept: it is to send it again", "error", err)
		http.Error(w, "this replica cannot keep this now; try again", http.StatusInternalServerError)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// unlimited is a budget that is never used up.
var unlimited = rate.NewLimiter(rate.Inf, 0)

const (
	// bodyTimeout is how long the body of a request may take on its way.
	bodyTimeout = 30 * time.Second
	// bodies is how many are in memory at once, on their way or waiting to be kept: some 256 MiB at most.
	bodies = 256
)

// read reads the body of a request, and one byte more than it may have. That takes as long as the line of its cluster does, and others do not wait for it: a request has a slot once it is there.
func read(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	way := http.NewResponseController(w)
	_ = way.SetReadDeadline(time.Now().Add(bodyTimeout)) // where there is a way: a request that is in memory has none, nor needs it
	body, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	_ = way.SetReadDeadline(time.Time{})
	return body, err
}

// take takes one of so many places, unless ctx ends before there is one.
func take(ctx context.Context, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Store) answer(w http.ResponseWriter, cluster v1alpha1.ClusterName, done outcome) {
	w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(done.kept))
	w.Header().Set("X-Prometheus-Remote-Write-Histograms-Written", "0")
	w.Header().Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
	why := done.String()
	if why == "" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if s.clusters.complain(cluster, s.Now()) {
		s.Log.Warn("not all that a cluster measured is kept", "member", cluster, "outcome", why)
	}
	http.Error(w, why, http.StatusBadRequest)
}

// over says that a cluster sends more than it may.
func (s *Store) over(cluster v1alpha1.ClusterName) string {
	return fmt.Sprintf("cluster %q sends more than %d samples per second, which is what one cluster may", cluster, s.Limits.Rate)
}

func again(w http.ResponseWriter, after time.Duration, why string) {
	w.Header().Set("Retry-After", strconv.Itoa(int(max(after, time.Second)/time.Second)))
	http.Error(w, why, http.StatusTooManyRequests)
}

var (
	errBudget   = errors.New("the cluster's budget is used up")
	errDatabase = errors.New("writing to the database")
)

// keep keeps what may be kept of a request: all of that, or nothing when there is an error.
func (s *Store) keep(app storage.Appender, cluster v1alpha1.ClusterName, budget *rate.Limiter, body []byte) (done outcome, err error) {
	known := app.(storage.GetRef) // the database's own, or one before it
	now, builder := s.Now(), labels.NewScratchBuilder(request.MaxLabels)
	var set labels.Labels // in memory that the next series uses again
	spent := 0
	defer func() {
		if err != nil {
			err = errors.Join(err, app.Rollback())
		}
	}()
	err = request.Decode(body, func(series *request.Series) error {
		cost := max(1, len(series.Samples)) // a series without any is work too
		if !budget.AllowN(now, cost) {
			return errBudget
		}
		spent += cost
		if why := judge(series); why != "" {
			done.refuse(why, len(series.Samples))
			return nil
		}
		labelled(&builder, series, cluster, &set)
		if _, twice := set.HasDuplicateLabelNames(); twice {
			done.refuse(noSeries, len(series.Samples))
			return nil
		}
		s.names.say(cluster, set.Get(nameLabel), series.Type)
		ref, own := known.GetRef(set, set.Hash())
		if ref == 0 {
			own = set.Copy()
		}
		return s.append(app, ref, own, series.Samples, now, &done)
	})
	if errors.Is(err, errBudget) {
		budget.AllowN(now, -spent) // none of it was kept
	}
	if err != nil {
		return done, err
	}
	if err := app.Commit(); err != nil {
		return done, fmt.Errorf("%w: %w", errDatabase, err)
	}
	return done, nil
}

// labelled has into be the labels under which a series is kept, in the builder's memory.
func labelled(b *labels.ScratchBuilder, series *request.Series, cluster v1alpha1.ClusterName, into *labels.Labels) {
	b.Reset()
	for _, l := range series.Labels {
		switch l.Name {
		case clusterLabel:
			b.Add(formerLabel, l.Value)
		case formerLabel: // nobody but the hub says so
		default:
			if l.Value != "" {
				b.Add(l.Name, l.Value)
			}
		}
	}
	b.Add(clusterLabel, string(cluster))
	b.Sort()
	b.Overwrite(into)
}

// append gives the samples of a series to the database; ref is 0 for one that it does not know.
func (s *Store) append(app storage.Appender, ref storage.SeriesRef, set labels.Labels, samples []request.Sample, now time.Time, done *outcome) error {
	for _, sample := range samples {
		if ref == 0 && value.IsStaleNaN(sample.Value) {
			continue // the end of what is not there makes no series
		}
		if why := timely(sample.Millis, now); why != "" {
			done.refuse(why, 1)
			continue
		}
		var err error
		ref, err = app.Append(ref, set, sample.Millis, sample.Value)
		switch {
		case err == nil:
			done.kept++
		case errors.Is(err, errSeries):
			done.refuse(tooManySeries, 1)
		case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrOutOfOrderSample):
			done.refuse(tooLate, 1)
		case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
			done.refuse(contradicts, 1)
		default:
			return fmt.Errorf("%w: %w", errDatabase, err)
		}
	}
	return nil
}
