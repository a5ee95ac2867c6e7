package apply

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"umbel.dev/umbel/api/wire"
)

// A fault is what the member's API server answers instead of the truth. What a fault is not about goes through.
type fault struct {
	name string
	// about says which requests it is about.
	about func(r *http.Request) bool
	// answer makes the answer of the true one.
	answer func(r *http.Request, next http.RoundTripper) (*http.Response, error)
}

func reads(r *http.Request) bool  { return r.Method == http.MethodGet }
func writes(r *http.Request) bool { return r.Method != http.MethodGet }
func discovers(r *http.Request) bool {
	return reads(r) && (r.URL.Path == "/api" || r.URL.Path == "/apis" || isGroup(r.URL.Path))
}
func follows(r *http.Request) bool { return reads(r) && r.URL.Query().Get("watch") != "" }
func lists(r *http.Request) bool {
	return reads(r) && !follows(r) && r.URL.Query().Get("labelSelector") != ""
}

// isGroup says whether a path is that of a group's kinds: /api/v1 or /apis/GROUP/VERSION.
func isGroup(path string) bool {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	return len(parts) == 2 && parts[0] == "api" || len(parts) == 3 && parts[0] == "apis"
}

func says(code int, contentType, body string) func(*http.Request, http.RoundTripper) (*http.Response, error) {
	return func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
		return &http.Response{
			StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
			Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}, nil
	}
}

func status(code int, reason metav1.StatusReason) func(*http.Request, http.RoundTripper) (*http.Response, error) {
	body, _ := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: "injected",
	})
	return says(code, "application/json", string(body))
}

// altered sends the request on, for JSON, and changes what comes back.
func altered(change func(body []byte) []byte) func(*http.Request, http.RoundTripper) (*http.Response, error) {
	return func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		r = r.Clone(r.Context())
		if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
			r.Header.Set("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
		} else if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata;") {
			r.Header.Set("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
		}
		response, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return nil, err
		}
		body = change(body)
		response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		response.Header.Del("Content-Length")
		return response, nil
	}
}

// items keeps so many of the objects of a list.
func items(keep func(n int) int) func([]byte) []byte {
	return func(body []byte) []byte {
		var list map[string]any
		if json.Unmarshal(body, &list) != nil {
			return body
		}
		for _, field := range []string{"items", "resources", "groups"} {
			if all, ok := list[field].([]any); ok {
				list[field] = all[:keep(len(all))]
			}
		}
		changed, err := json.Marshal(list)
		if err != nil {
			return body
		}
		return changed
	}
}

// gone says of everything that is watched that it was deleted, and then that the watch is too old.
func gone(r *http.Request, next http.RoundTripper) (*http.Response, error) {
	list := r.Clone(r.Context())
	query := list.URL.Query()
	query.Del("watch")
	query.Del("resourceVersion")
	list.URL.RawQuery = query.Encode()
	list.Header.Set("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
	response, err := next.RoundTrip(list)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var found struct {
		Metadata metav1.ListMeta          `json:"metadata"`
		Items    []map[string]interface{} `json:"items"`
	}
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		return nil, err
	}
	var events strings.Builder
	for _, o := range found.Items {
		o["apiVersion"], o["kind"] = "meta.k8s.io/v1", "PartialObjectMetadata"
		raw, err := json.Marshal(map[string]any{"type": watch.Deleted, "object": o})
		if err != nil {
			return nil, err
		}
		events.Write(append(raw, '\n'))
	}
	events.WriteString(`{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}}` + "\n")
	return says(http.StatusOK, "application/json", events.String())(r, next)
}

var faults = []fault{
	{"an empty list", lists, altered(items(func(int) int { return 0 }))},
	{"half of a list", lists, altered(items(func(n int) int { return n / 2 }))},
	{"a list that breaks off", lists, altered(func(b []byte) []byte { return b[:len(b)/2] })},
	{"lists are forbidden", lists, status(http.StatusForbidden, metav1.StatusReasonForbidden)},
	{"lists are not found", lists, status(http.StatusNotFound, metav1.StatusReasonNotFound)},
	{"every read is forbidden", reads, status(http.StatusForbidden, metav1.StatusReasonForbidden)},
	{"every read is not found", reads, status(http.StatusNotFound, metav1.StatusReasonNotFound)},
	{"every read is not found, says a proxy", reads, says(http.StatusNotFound, "text/plain", "404 page not found")},
	{"every read is unauthorised", reads, status(http.StatusUnauthorized, metav1.StatusReasonUnauthorized)},
	{"every read fails", reads, status(http.StatusInternalServerError, metav1.StatusReasonInternalError)},
	{"every answer is empty", reads, altered(func([]byte) []byte { return nil })},
	{"every answer is an empty object", reads, altered(func([]byte) []byte { return []byte("{}") })},
	{"every answer breaks off", reads, altered(func(b []byte) []byte { return b[:len(b)/2] })},
	{"no connection", reads, func(*http.Request, http.RoundTripper) (*http.Response, error) {
		return nil, errors.New("connection refused")
	}},
	{"no kinds at all", discovers, altered(items(func(int) int { return 0 }))},
	{"half of the kinds", discovers, altered(items(func(n int) int { return n / 2 }))},
	{"discovery fails", discovers, status(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)},
	{"discovery is not found", discovers, says(http.StatusNotFound, "text/plain", "404 page not found")},
	{"watches tell that all is gone", follows, gone},
	{"watches break off", follows, says(http.StatusOK, "application/json", `{"type":"MODIF`)},
	{"writes are forbidden", writes, status(http.StatusForbidden, metav1.StatusReasonForbidden)},
	{"writes are not found", writes, status(http.StatusNotFound, metav1.StatusReasonNotFound)},
	{"writes fail", writes, status(http.StatusInternalServerError, metav1.StatusReasonInternalError)},
	{"writes are done, and their answers lost", writes, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if response, err := next.RoundTrip(r); err == nil {
			_ = response.Body.Close()
		}
		return nil, errors.New("connection reset")
	}},
	{"writes are done, and their answers break off", writes, altered(func(b []byte) []byte { return b[:len(b)/2] })},
	{"writes are done, and their answers are empty objects", writes, altered(func([]byte) []byte { return []byte("{}") })},
}

// moments are when a fault begins: so many requests that it is about go through before.
var moments = []int64{0, 1, 2, 4, 8, 16}

// TestFaultsDeleteNothing injects every fault at a hundred points and more of a rollout of a release that deletes nothing, on a
// real API server: under an agent that starts, and under one that is at work. Whatever the agent is told instead of the truth, the
// API server deletes nothing, by the agent's requests and by its own watch; and once the fault is over, the release is there. A
// point is one where the fault was met: there are no more of it after the first moment that the rollout does not come to.
func TestFaultsDeleteNothing(t *testing.T) {
	s := newStation(t)
	n := &nothingDeleted{station: s, deletes: s.countDeletes()}
	s.start()
	for _, f := range faults {
		points := 0
		for _, restart := range []bool{true, false} {
			for _, after := range moments {
				if !n.at(f, after, restart) {
					break
				}
				points++
			}
		}
		if points == 0 {
			t.Errorf("%s: no rollout met it", f.name)
		}
		t.Logf("%s: %d points", f.name, points)
		n.points += points
	}
	if n.points < 100 {
		t.Errorf("%d points, want at least 100", n.points)
	}
	t.Logf("%d faults, %d points", len(faults), n.points)
}

// nothingDeleted is a station with rollouts under faults, and the count of what is deleted in it.
type nothingDeleted struct {
	*station
	deletes func() int64
	asked   atomic.Int64 // deletes that the agent asked for
	rounds  int
	points  int
}

// at rolls a release out under a fault from a moment on, and says whether the fault was met.
func (s *nothingDeleted) at(f fault, after int64, restart bool) bool {
	s.t.Helper()
	s.rounds++
	name := fmt.Sprintf("r%03d", s.rounds)
	var about atomic.Int64
	var over atomic.Bool
	meddle := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodDelete {
			s.asked.Add(1)
		}
		if !over.Load() && f.about(r) && about.Add(1) > after {
			return f.answer(r, next)
		}
		return next.RoundTrip(r)
	}
	s.meddle.Store(&meddle)
	if restart {
		s.stop()
		s.start()
	} else {
		s.engine.watches.anew() // lists and watches are asked again
	}
	s.assign(s.rollout(name))
	s.settles("shop/web", name)
	over.Store(true)
	s.stop() // what the fault left behind is no excuse for what comes after
	s.start()
	s.reaches("shop/web", name, wire.PackageStatus_APPLIED)
	if n := s.deletes(); n > 0 || s.asked.Load() > 0 {
		s.t.Fatalf("%s, from the request after %d on, at a start %t: %d deletes were asked for, and %d objects deleted", f.name, after, restart, s.asked.Load(), n)
	}
	return about.Load() > after
}

// rollout is a release that has the objects that all releases have, changed.
func (s *station) rollout(name string) *wire.Assignment {
	ns := s.namespace
	return s.release("shop/web", name, append(s.objects(0, 6, name),
		fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"token","namespace":%q},"stringData":{"release":%q}}`, ns, name),
		fmt.Sprintf(`{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":%q,"annotations":{"release":%q}},"spec":{"ports":[{"port":80}]}}`, ns, name),
		fmt.Sprintf(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"reader","namespace":%q,"annotations":{"release":%q}},"rules":[]}`, ns, name),
	)...)
}

// settles gives a pass under a fault some time: until it has ended, well or badly, or goes on waiting for an answer that makes
// sense.
func (s *station) settles(pkg, release string) {
	s.t.Helper()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		st := s.status(pkg)
		atWork := st.GetPhase() == wire.PackageStatus_APPLYING && !strings.Contains(st.GetMessage(), "waiting")
		if st.GetRelease() == release && !atWork {
			return
		}
	}
}

// countDeletes counts what the API server deletes in the station's namespace, by a watch of its own for each kind.
func (s *station) countDeletes() (deletes func() int64) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	s.t.Cleanup(func() { cancel(); watching.Wait() })
	var deleted atomic.Int64
	for kind, gvr := range namespaced {
		stream, err := s.dynamic.Resource(gvr).Namespace(s.namespace).Watch(ctx, metav1.ListOptions{})
		if err != nil {
			s.t.Fatalf("watching %s: %v", kind, err)
		}
		watching.Go(func() {
			for {
				select {
				case event, open := <-stream.ResultChan():
					if !open {
						return
					}
					if event.Type == watch.Deleted {
						deleted.Add(1)
					}
				case <-ctx.Done():
					stream.Stop()
					return
				}
			}
		})
	}
	return deleted.Load
}

// TestFaultsOfContent: what the registry sends instead of a release deletes nothing.
func TestFaultsOfContent(t *testing.T) {
	s := newStation(t)
	deletes := s.countDeletes()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	nothing := w.EncodeAll(nil, nil)
	s.start()
	s.assign(s.rollout("one"))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	for i, fault := range []struct {
		name   string
		damage func(raw []byte) []byte
	}{
		{"nothing", func([]byte) []byte { return nil }},
		{"half of it", func(raw []byte) []byte { return raw[:len(raw)/2] }},
		{"all but a byte", func(raw []byte) []byte { return raw[:len(raw)-1] }},
		{"garbage", func(raw []byte) []byte { return bytes.Repeat([]byte{7}, len(raw)) }},
		{"another release", func([]byte) []byte {
			return s.blobs[s.release("shop/web", "other", s.configMap("other", nil)).GetDigest()]
		}},
		{"a release of nothing", func([]byte) []byte { return nothing }},
	} {
		name := fmt.Sprintf("bad-%d", i)
		a := s.rollout(name)
		s.mu.Lock()
		whole := s.blobs[a.GetDigest()]
		s.mu.Unlock()
		damaged := fault.damage(whole)
		s.mu.Lock()
		s.blobs[a.GetDigest()] = damaged
		s.mu.Unlock()
		s.assign(a)
		s.reaches("shop/web", name, wire.PackageStatus_FAILED)
		s.stop()
		s.start()
		s.reaches("shop/web", name, wire.PackageStatus_FAILED)
		if n := deletes(); n > 0 {
			t.Errorf("%s: %d objects were deleted", fault.name, n)
		}
	}
	// A release of nothing that is what its digest says: no renderer makes one, and no agent takes it.
	a := s.rollout("none")
	a.Digest, a.Size = digest.FromBytes(nothing).String(), int64(len(nothing))
	s.mu.Lock()
	s.blobs[a.GetDigest()] = nothing
	s.mu.Unlock()
	s.assign(a)
	s.reaches("shop/web", "none", wire.PackageStatus_FAILED)
	if n := deletes(); n > 0 {
		t.Errorf("a release of nothing: %d objects were deleted", n)
	}
}

// TestNothingIsPrunedWhileReadsLie: a release that deletes what it may deletes nothing that it cannot read first, and
// nothing while a part of it cannot be applied.
func TestNothingIsPrunedWhileReadsLie(t *testing.T) {
	s := newStation(t)
	deletes := s.countDeletes()
	s.start()
	for i, f := range faults {
		if f.name == "watches tell that all is gone" || f.name == "watches break off" || strings.Contains(f.name, "list") || strings.HasPrefix(f.name, "writes") {
			continue // what is pruned is not read from them
		}
		one, two := fmt.Sprintf("one-%d", i), fmt.Sprintf("two-%d", i)
		s.assign(s.release("shop/web", one, s.objects(0, 8, one)...))
		s.reaches("shop/web", one, wire.PackageStatus_APPLIED)
		before := deletes()
		var over atomic.Bool
		meddle := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if !over.Load() && f.about(r) {
				return f.answer(r, next)
			}
			return next.RoundTrip(r)
		}
		s.meddle.Store(&meddle)
		s.stop()
		s.start()
		s.assign(s.release("shop/web", two, s.objects(0, 4, two)...))
		s.settles("shop/web", two)
		time.Sleep(50 * time.Millisecond)
		if n := deletes() - before; n > 0 {
			t.Errorf("%s: %d objects were deleted", f.name, n)
		}
		over.Store(true)
		s.stop()
		s.start()
		s.reaches("shop/web", two, wire.PackageStatus_APPLIED)
		s.eventually("what the release deletes is gone", func() error {
			if n := deletes() - before; n != 4 {
				return fmt.Errorf("%d deletes", n)
			}
			return nil
		})
	}
}

// TestOneOrderThatCannotBeStored keeps no other from being: it is named, and the rest is carried out.
func TestOneOrderThatCannotBeStored(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/old", "r1", s.configMap("old", nil)))
	s.reaches("shop/old", "r1", wire.PackageStatus_APPLIED)
	blocked := filepath.Join(s.dir, "packages", "shop.blocked") // where its folder would be
	if err := os.WriteFile(blocked, []byte("in the way"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := s.engine.Store(t.Context(), &wire.DesiredState{
		Assign: []*wire.Assignment{s.release("shop/blocked", "r1", s.configMap("b", nil)), s.release("shop/web", "r1", s.configMap("a", nil))},
		Remove: []string{"shop/old"},
	})
	if err == nil || !strings.Contains(err.Error(), "shop/blocked") {
		t.Errorf("the error is %v", err)
	}
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	s.lacks("old")
}
