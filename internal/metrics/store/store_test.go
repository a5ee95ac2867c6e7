package store

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/request"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func open(t testing.TB, dir string, limits Limits) (*Store, *clock) {
	t.Helper()
	at := &clock{at: noon}
	s, err := Open(Config{Dir: dir, Limits: limits, Now: at.now, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, at
}

// post sends a request as an agent does, and returns the answer's code and text.
func post(s *Store, cluster v1alpha1.ClusterName, body []byte) (int, string) {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/write", bytes.NewReader(body))
	r.Header.Set("Content-Type", request.ContentType)
	r.Header.Set("Content-Encoding", request.ContentEncoding)
	w := httptest.NewRecorder()
	s.Write(w, r, cluster)
	return w.Code, w.Body.String()
}

func counter(name string, more ...string) []request.Label {
	set := []request.Label{{Name: "__name__", Value: name}}
	for i := 0; i < len(more); i += 2 {
		set = append(set, request.Label{Name: more[i], Value: more[i+1]})
	}
	return set
}

// send sends one sample.
func send(t testing.TB, s *Store, cluster v1alpha1.ClusterName, set []request.Label, at time.Time, value float64) (int, string) {
	t.Helper()
	var b request.Builder
	b.Add(set, request.Counter, at.UnixMilli(), value)
	return post(s, cluster, b.Take())
}

// all returns what is kept, as "SERIES: TIME=VALUE …", times in seconds from noon.
func all(t testing.TB, s *Store, matchers ...*labels.Matcher) []string {
	t.Helper()
	q, err := s.Queryable().Querier(noon.Add(-100*time.Hour).UnixMilli(), noon.Add(100*time.Hour).UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if len(matchers) == 0 {
		matchers = []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+")}
	}
	set := q.Select(t.Context(), true, nil, matchers...)
	var found []string
	for set.Next() {
		line := set.At().Labels().String() + ":"
		samples := set.At().Iterator(nil)
		for samples.Next() == chunkenc.ValFloat {
			at, value := samples.At()
			line += fmt.Sprintf(" %v=%v", time.UnixMilli(at).Sub(noon).Seconds(), value)
		}
		found = append(found, line)
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return found
}

func TestWhoseASampleIsFollowsFromTheSession(t *testing.T) {
	s, _ := open(t, t.TempDir(), Limits{})
	for _, set := range [][]request.Label{
		counter("up"),
		counter("up", "cluster", "other", "node", "n"),
		counter("up", "exported_cluster", "other", "node", "m"),
		counter("up", "cluster", "other", "cluster", "third", "node", "o"),
	} {
		code, text := send(t, s, "mine", set, noon, 1)
		if code != http.StatusNoContent && !strings.Contains(text, string(noSeries)) {
			t.Errorf("%v: %d %s", set, code, text)
		}
	}
	want := []string{
		`{__name__="up", cluster="mine"}: 0=1`,
		`{__name__="up", cluster="mine", exported_cluster="other", node="n"}: 0=1`,
		`{__name__="up", cluster="mine", node="m"}: 0=1`,
	}
	if diff := cmp.Diff(want, all(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestAFloodOfSeriesLimitsItsSenderAlone(t *testing.T) {
	s, _ := open(t, t.TempDir(), Limits{Series: 100, Rate: 100_000})
	if code, text := send(t, s, "flood", counter("first"), noon, 1); code != http.StatusNoContent {
		t.Fatal(code, text)
	}
	var b request.Builder
	for i := range 5000 {
		b.Add(counter("flood", "i", fmt.Sprint(i)), request.Gauge, noon.UnixMilli(), 1)
	}
	code, text := post(s, "flood", b.Take())
	if code != http.StatusBadRequest || !strings.Contains(text, "99 samples were kept; 4901 refused: its cluster has too many series") {
		t.Errorf("got %d %s", code, text)
	}
	if n := s.Series("flood"); n != 100 {
		t.Errorf("%d series, want 100", n)
	}
	if code, text := send(t, s, "flood", counter("first"), noon.Add(time.Second), 2); code != http.StatusNoContent {
		t.Errorf("a series that it has is refused: %d %s", code, text)
	}
	if code, text := send(t, s, "good", counter("up"), noon, 1); code != http.StatusNoContent {
		t.Errorf("another cluster is refused: %d %s", code, text)
	}
}

func TestASeriesLimitOutlivesARestartAndKeepsNoHubDown(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir, Limits{Series: 100})
	for i := range 5 {
		send(t, s, "a", counter("up", "i", fmt.Sprint(i)), noon, 1)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, dir, Limits{Series: 3}) // fewer than there are
	if n := s.Series("a"); n != 5 {
		t.Errorf("%d series are counted after the start, want 5", n)
	}
	if code, _ := send(t, s, "a", counter("up", "i", "new"), noon, 1); code != http.StatusBadRequest {
		t.Errorf("one more series: %d", code)
	}
	if got := all(t, s); len(got) != 5 {
		t.Errorf("kept: %v", got)
	}
}

func TestSamplesOfAnotherTime(t *testing.T) {
	s, _ := open(t, t.TempDir(), Limits{})
	for _, test := range []struct {
		at   time.Duration
		want reason
	}{
		{365 * 24 * time.Hour, tooEarly}, {early + time.Second, tooEarly}, {early, ""}, {0, ""},
		{-Late + early, ""}, {-Late + early - time.Second, tooLate}, {-365 * 24 * time.Hour, tooLate},
	} {
		code, text := send(t, s, "odd", counter("up", "at", test.at.String()), noon.Add(test.at), 1)
		if refused := code == http.StatusBadRequest && strings.Contains(text, string(test.want)); test.want != "" && !refused || test.want == "" && code != http.StatusNoContent {
			t.Errorf("%s from now: got %d %s, want %q", test.at, code, text, test.want)
		}
	}
	// Others are not pushed out by it.
	if code, text := send(t, s, "good", counter("up"), noon.Add(-3*time.Hour), 1); code != http.StatusNoContent {
		t.Errorf("what another cluster measured three hours ago is refused: %d %s", code, text)
	}
}

func TestAPartitionIsFilledIn(t *testing.T) {
	s, at := open(t, t.TempDir(), Limits{})
	send(t, s, "away", counter("requests_total"), noon, 0)
	at.pass(3 * time.Hour) // others go on
	for m := range 180 {
		send(t, s, "here", counter("requests_total"), noon.Add(time.Duration(m)*time.Minute), float64(m))
	}
	for m := 1; m <= 180; m++ {
		if code, text := send(t, s, "away", counter("requests_total"), noon.Add(time.Duration(m)*time.Minute), float64(m)); code != http.StatusNoContent {
			t.Fatalf("minute %d: %d %s", m, code, text)
		}
	}
	want := `{__name__="requests_total", cluster="away"}:`
	for m := range 181 {
		want += fmt.Sprintf(" %d=%d", m*60, m)
	}
	got := all(t, s, labels.MustNewMatcher(labels.MatchEqual, "cluster", "away"))
	if diff := cmp.Diff([]string{want}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsSentAgainIsThereOnce(t *testing.T) {
	s, _ := open(t, t.TempDir(), Limits{})
	var b request.Builder
	for i := range 3 {
		b.Add(counter("c"), request.Counter, noon.Add(time.Duration(i)*time.Second).UnixMilli(), float64(i))
	}
	body := b.Take()
	for range 2 {
		if code, text := post(s, "a", body); code != http.StatusNoContent {
			t.Fatal(code, text)
		}
	}
	if diff := cmp.Diff([]string{`{__name__="c", cluster="a"}: 0=0 1=1 2=2`}, all(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestARateBeyondTheBudgetWaits(t *testing.T) {
	s, at := open(t, t.TempDir(), Limits{Rate: 10}) // 600 at once
	bodies := make([][]byte, 7)
	for i := range bodies {
		var b request.Builder
		for j := range 100 {
			b.Add(counter("c", "j", fmt.Sprint(j)), request.Counter, noon.Add(time.Duration(i)*time.Second).UnixMilli(), float64(i))
		}
		bodies[i] = b.Take()
	}
	for i, body := range bodies {
		code, text := post(s, "fast", body)
		if want := map[bool]int{true: http.StatusNoContent, false: http.StatusTooManyRequests}[i < 6]; code != want {
			t.Fatalf("request %d: %d %s", i, code, text)
		}
	}
	if code, text := send(t, s, "slow", counter("c"), noon, 1); code != http.StatusNoContent {
		t.Errorf("another cluster: %d %s", code, text)
	}
	at.pass(5 * time.Second)
	if code, _ := post(s, "fast", bodies[6]); code != http.StatusTooManyRequests {
		t.Errorf("with half of the budget: %d", code)
	}
	at.pass(5 * time.Second)
	if code, text := post(s, "fast", bodies[6]); code != http.StatusNoContent {
		t.Errorf("with the whole budget, which a request that was not kept did not use: %d %s", code, text)
	}
}

// TestWhatDidNotComeIsSentAgain: half a request is not one that is kept, whose sender would forget it.
func TestWhatDidNotComeIsSentAgain(t *testing.T) {
	s, _ := open(t, t.TempDir(), Limits{})
	r := httptest.NewRequest(http.MethodPost, "/", iotest.ErrReader(os.ErrDeadlineExceeded))
	r.Header.Set("Content-Type", request.ContentType)
	r.Header.Set("Content-Encoding", request.ContentEncoding)
	w := httptest.NewRecorder()
	s.Write(w, r, "edge")
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || len(s.bodies) != 0 {
		t.Errorf("it answers %d: %s", w.Code, w.Body)
	}
}

// TestWhoseBodyDoesNotComeHoldsUpNobody: many clusters begin a request and do not go on, and another one's is kept meanwhile. When theirs come they are kept too.
func TestWhoseBodyDoesNotComeHoldsUpNobody(t *testing.T) {
	s, _ := open(t, t.TempDir(), Limits{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Write(w, r, v1alpha1.ClusterName(r.Header.Get("X-Cluster")))
	}))
	t.Cleanup(server.Close)
	ask := func(cluster string, body io.Reader) (int, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, body)
		if err != nil {
			return 0, err
		}
		r.Header.Set("Content-Type", request.ContentType)
		r.Header.Set("Content-Encoding", request.ContentEncoding)
		r.Header.Set("X-Cluster", cluster)
		answer, err := server.Client().Do(r)
		if err != nil {
			return 0, err
		}
		return answer.StatusCode, answer.Body.Close()
	}
	one := func() []byte {
		var b request.Builder
		b.Add(counter("up"), request.Gauge, noon.UnixMilli(), 1)
		return b.Take()
	}
	slow := 4 * cap(s.slots)
	answers, ways := make(chan int, slow), make([]*io.PipeWriter, slow)
	for i := range slow {
		var body io.Reader
		body, ways[i] = io.Pipe()
		go func() {
			code, err := ask(fmt.Sprint("slow-", i), body)
			if err != nil {
				t.Error(err)
			}
			answers <- code
		}()
		if _, err := ways[i].Write(one()[:1]); err != nil { // it is on its way
			t.Fatal(err)
		}
	}
	if code, err := ask("well", bytes.NewReader(one())); code != http.StatusNoContent || err != nil {
		t.Errorf("a cluster whose line is good is answered %d: %v", code, err)
	}
	for _, way := range ways {
		if _, err := way.Write(one()[1:]); err != nil {
			t.Fatal(err)
		}
		way.Close()
	}
	for range slow {
		if code := <-answers; code != http.StatusNoContent {
			t.Errorf("a slow cluster is answered %d", code)
		}
	}
}

func TestRequestsThatAreNone(t *testing.T) {
	s, _ := open(t, t.TempDir(), Limits{})
	var b request.Builder
	for _, set := range [][]request.Label{
		{{Name: "no", Value: "name"}}, counter(""), counter("x", "", "v"), counter("x", strings.Repeat("n", 300), "v"),
		counter("x", "l", strings.Repeat("v", 3000)), counter("x", "a", "1", "a", "2"), nil,
	} {
		b.Add(set, request.Gauge, noon.UnixMilli(), 1)
	}
	b.Add(counter("good"), request.Gauge, noon.UnixMilli(), 1)
	code, text := post(s, "a", b.Take())
	if code != http.StatusBadRequest || !strings.Contains(text, "1 samples were kept; 7 refused: its labels are none") {
		t.Errorf("got %d %s", code, text)
	}
	for name, body := range map[string][]byte{"random": []byte("hello"), "large": make([]byte, request.MaxBody+10)} {
		if code, text := post(s, "a", body); code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, code, text)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/api/v1/write", strings.NewReader("{}"))
	w := httptest.NewRecorder()
	if s.Write(w, r, "a"); w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("something else: %d", w.Code)
	}
	if got := all(t, s); len(got) != 1 {
		t.Errorf("kept: %v", got)
	}
}

// childEnv has this test's program be a hub that is killed.
const childEnv = "UMBEL_TEST_STORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
	}
	os.Exit(m.Run())
}

// child keeps samples for ever, and says of each that it is kept.
func child(dir string) {
	s, err := Open(Config{Dir: dir, Limits: Limits{Rate: 1 << 20}, Now: func() time.Time { return noon }, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		var b request.Builder
		b.Add(counter("c"), request.Counter, noon.Add(time.Duration(i)*time.Millisecond).UnixMilli(), float64(i))
		if code, text := post(s, "a", b.Take()); code != http.StatusNoContent {
			panic(text)
		}
		fmt.Println(i)
	}
}

// TestAHubThatIsKilledHasWhatItAcknowledged kills a process that keeps samples, and looks whether it lacks one that it said it kept.
func TestAHubThatIsKilledHasWhatItAcknowledged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "metrics")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 0, 1<<16)
	for len(said) < 1<<13 {
		n, err := out.Read(said[len(said):cap(said)])
		if err != nil {
			t.Fatalf("the hub ended: %v", err)
		}
		said = said[:len(said)+n]
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(out)
	cmd.Wait() //nolint:errcheck // it was killed
	lines := strings.Split(strings.TrimSpace(string(append(said, rest...))), "\n")
	acknowledged := len(lines)
	if !strings.HasSuffix(string(append(said, rest...)), "\n") {
		acknowledged--
	}
	s, _ := open(t, dir, Limits{})
	got := all(t, s)
	if len(got) != 1 {
		t.Fatalf("kept: %v", got)
	}
	if kept := strings.Count(got[0], "=") - 2; kept < acknowledged { // of the labels
		t.Errorf("%d samples are there, and %d were acknowledged", kept, acknowledged)
	}
}

func BenchmarkWrite(b *testing.B) {
	s, _ := open(b, b.TempDir(), Limits{Series: 1 << 20, Rate: 1 << 30})
	const series = 5000
	sets := make([][]request.Label, series)
	for i := range sets {
		sets[i] = counter("container_cpu_usage_seconds_total", "container", "web", "instance", "node-1", "job", "kubelet", "namespace", "shop", "pod", fmt.Sprintf("web-5b7c9d-%05d", i))
	}
	round := 0
	for b.Loop() {
		b.StopTimer()
		var built request.Builder
		for i, set := range sets {
			built.Add(set, request.Counter, noon.Add(time.Duration(round)*time.Millisecond).UnixMilli(), float64(round*i))
		}
		body := built.Take()
		round++
		b.StartTimer()
		if code, text := post(s, "a", body); code != http.StatusNoContent {
			b.Fatal(code, text)
		}
	}
	b.ReportMetric(float64(series)*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
}
