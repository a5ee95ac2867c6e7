package audit

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// write makes a file of the log.
func write(t testing.TB, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func zipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFilesOfEveryKind(t *testing.T) {
	dir := t.TempDir()
	one := func(n int) []byte { return encode(numbered(n)) }
	write(t, dir, "audit-0000000001.log.gz", zipped(t, append(one(1), one(2)...)))
	write(t, dir, "audit-0000000002.log", one(3))
	write(t, dir, "audit-0000000002.log.gz", zipped(t, one(3))[:20]) // being compressed
	write(t, dir, "audit-0000000003.log.gz", append(zipped(t, one(4)), "not compressed"...))
	half := zipped(t, bytes.Repeat(one(5), 3))
	write(t, dir, "audit-0000000004.log.gz", half[:len(half)-9])
	write(t, dir, "audit-0000000005.log.gz", []byte("garbage"))
	write(t, dir, "audit-0000000006.log", append(one(6), one(7)[:30]...)) // killed, and rotated at the next start
	write(t, dir, "audit-yesterday.log", one(99))
	write(t, dir, "other.log", one(99))
	current := append(one(8), "garbage\n\n{}\n{\"kind\":\"Pod\",\"stage\":\"x\"}\n"...)
	current = append(append(current, bytes.Repeat([]byte("long"), maxLine/3)...), '\n')
	write(t, dir, fileName, append(append(current, one(9)...), one(10)[:40]...))
	l := newLog(LogConfig{Dir: dir, Now: time.Now}, nil)
	got, report := numbers(t, l)
	if len(got) < 7 {
		t.Fatalf("got %v", got)
	}
	var known []int
	for _, n := range got {
		if n != 5 { // of a file that is cut off what can be read is
			known = append(known, n)
		}
	}
	if diff := cmp.Diff([]int{1, 2, 3, 4, 6, 7 + 1, 9}, known); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if report.Damaged != 9 {
		t.Errorf("%d are damaged", report.Damaged)
	}
}

func TestQueries(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	l := open(t, LogConfig{Dir: dir, Now: func() time.Time { return at }})
	request := func(minute int, cluster, method, path string) {
		at = time.Date(2026, 11, 22, 12, minute, 0, 0, time.UTC)
		target := Target{Cluster: v1alpha1.ClusterName(cluster), Path: path}
		l.Serve(httptest.NewRecorder(), httptest.NewRequest(method, path, nil), target, func(w http.ResponseWriter, r *http.Request) {
			From(r.Context()).Known(ada)
			From(r.Context()).Allowed("hub:ada")
			w.WriteHeader(http.StatusOK)
		})
	}
	request(0, "prod-eu", "GET", "/api/v1/pods")
	request(10, "prod-us", "GET", "/api/v1/pods?watch=1")
	at = time.Date(2026, 11, 22, 12, 20, 0, 0, time.UTC)
	l.Did(Deed{Verb: "hold", Cluster: "prod-us", Details: map[string]string{"umbel.dev/release": "shop-1"}})
	request(30, "prod-eu", "DELETE", "/api/v1/namespaces/shop/pods/ada")
	minute := func(n int) time.Time { return time.Date(2026, 11, 22, 12, n, 0, 0, time.UTC) }
	for _, c := range []struct {
		reason string
		query  Query
		want   string
	}{
		{"all", Query{}, "list watch watch watch hold delete delete"},
		{"a cluster", Query{Clusters: []v1alpha1.ClusterName{"prod-eu"}}, "list delete delete"},
		{"two", Query{Clusters: []v1alpha1.ClusterName{"prod-eu", "prod-us"}}, "list watch watch watch hold delete delete"},
		{"a cluster's name begins like another's", Query{Clusters: []v1alpha1.ClusterName{"prod"}}, ""},
		{"a user", Query{User: "ada"}, "list watch watch watch delete delete"},
		{"a user, as the member knows them", Query{User: "hub:ada"}, "list watch watch watch delete delete"},
		{"the hub", Query{User: HubUser}, "hold"},
		{"verbs", Query{Verbs: []string{"delete", "hold"}}, "hold delete delete"},
		{"since is within", Query{Since: minute(20)}, "hold delete delete"},
		{"until is not", Query{Until: minute(20)}, "list watch watch watch"},
		{"all together", Query{Clusters: []v1alpha1.ClusterName{"prod-us"}, User: "ada", Verbs: []string{"watch"}, Since: minute(1), Until: minute(11)}, "watch watch watch"},
		{"a user whom nobody has heard of", Query{User: `"<&>"`}, ""},
		{"the last are the endpoint's to choose", Query{Last: 2, Verbs: []string{"watch"}}, "watch watch watch"},
	} {
		again, err := ParseQuery(c.query.Values())
		if diff := cmp.Diff(c.query, again); err != nil || diff != "" {
			t.Errorf("%s: the query is read otherwise than it is written: %v\n%s", c.reason, err, diff)
		}
		var verbs []string
		_, err = l.Read(t.Context(), c.query, func(text []byte) error {
			var event line
			err := json.Unmarshal(text, &event)
			verbs = append(verbs, event.Verb)
			return err
		})
		if got := strings.Join(verbs, " "); err != nil || got != c.want {
			t.Errorf("%s: got %q and %v, want %q", c.reason, got, err, c.want)
		}
	}
	for _, wrong := range []string{"cluster=A_B", "since=yesterday", "user=a&user=b", "follow=perhaps", "last=0", "last=-1", "last=20000", "last=5&follow=true", "usr=ada", "until=2026-11-22T12:00:00Z&follow=1"} {
		values := httptest.NewRequest("GET", "/?"+wrong, nil).URL.Query()
		if q, err := ParseQuery(values); err == nil {
			t.Errorf("%s was read as %+v", wrong, q)
		}
	}
}

// TestEndpoint: the last line says how it ended.
func TestEndpoint(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, fileName, append([]byte("garbage\n"), encode(numbered(1))...))
	l := newLog(LogConfig{Dir: dir, Now: time.Now}, nil)
	ask := func(source Source, query Query) (lines []string, end End) {
		t.Helper()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Endpoint(w, r, source, query) }))
		defer server.Close()
		response, err := http.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		lines = strings.Split(strings.TrimSpace(string(text)), "\n")
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &end); err != nil {
			t.Fatal(err)
		}
		return lines, end
	}
	lines, end := ask(l, Query{})
	if len(lines) != 2 || end.Kind != "Status" || end.Status.Status != "Success" || end.Damaged != 1 {
		t.Errorf("got %q", lines)
	}
	_, end = ask(failing{}, Query{})
	if end.Status.Status != "Failure" || end.Message != "the disk is gone" {
		t.Errorf("got %+v", end)
	}
}

// TestTheLastOfMany: whoever wants so many gets the newest, in their order, and is told how many there were before; of one log, and of several, each of
// which has left out what it had too many of.
func TestTheLastOfMany(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	logs := map[string][]byte{}
	for n := range 9 {
		event := numbered(n)
		event.StageTimestamp = metav1.NewMicroTime(at.Add(time.Duration(n) * time.Minute))
		of := []string{"a", "b"}[n%2]
		logs[of] = append(logs[of], encode(event)...)
	}
	together := Together{}
	for name, content := range logs {
		dir := t.TempDir()
		write(t, dir, fileName, content)
		together[name] = newLog(LogConfig{Dir: dir, Now: time.Now}, nil)
	}
	for _, c := range []struct {
		source        Source
		last, earlier int
		want          []int
	}{
		{together["a"], 2, 3, []int{6, 8}}, {together["a"], 5, 0, []int{0, 2, 4, 6, 8}}, {together["a"], 6, 0, []int{0, 2, 4, 6, 8}},
		{together, 3, 6, []int{6, 7, 8}}, {together, 0, 0, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
	} {
		answer := httptest.NewRecorder()
		Endpoint(answer, httptest.NewRequest(http.MethodGet, Path, nil), c.source, Query{Last: c.last})
		var got []int
		var end End
		for text := range strings.Lines(answer.Body.String()) {
			if n, ok := numberOf([]byte(text)); ok {
				got = append(got, n)
			} else if err := json.Unmarshal([]byte(text), &end); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got, c.want) || end.Earlier != c.earlier || end.Status.Status != "Success" {
			t.Errorf("the last %d are %v, %d before them, %s; want %v and %d", c.last, got, end.Earlier, end.Status.Status, c.want, c.earlier)
		}
	}
}

type failing struct{}

func (failing) Read(context.Context, Query, func([]byte) error) (Report, error) {
	return Report{}, errors.New("the disk is gone")
}

// FuzzRead: whatever is in a file, reading it neither fails nor yields anything but events, and an event on a line of its
// own is found.
func FuzzRead(f *testing.F) {
	event := encode(numbered(7))
	for _, seed := range [][]byte{nil, []byte("\n"), []byte("{}\n"), event, event[:50], append(event[:50:50], event...), []byte(`{"kind":"Event","stage":"x","user":{"username":1}}` + "\n"), {0, 0xff, '\n'}} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, before, after []byte) {
		dir := t.TempDir()
		write(t, dir, "audit-0000000001.log.gz", before)
		write(t, dir, fileName, bytes.Join([][]byte{before, bytes.TrimSuffix(encode(numbered(77)), []byte("\n")), after}, []byte("\n")))
		found := false
		_, err := newLog(LogConfig{Dir: dir, Now: time.Now}, nil).Read(t.Context(), Query{}, func(text []byte) error {
			if !json.Valid(text) || bytes.Count(text, []byte("\n")) != 1 {
				t.Errorf("got the line %q", text)
			}
			n, ok := numberOf(text)
			found = found || ok && n == 77
			return nil
		})
		if err != nil || !found {
			t.Errorf("found: %t, %v", found, err)
		}
	})
}

// FuzzRedact: no value of a parameter that is a credential is in what is kept, however the query is written.
func FuzzRedact(f *testing.F) {
	f.Add("a=b&c=d", "access_token")
	f.Add("&&=;%", "Password")
	f.Fuzz(func(t *testing.T, query, name string) {
		if strings.ContainsAny(name, "&=#") || !secret(name) || strings.Contains(query, "hunter2") {
			return
		}
		if got := redactURI("/p", query+"&"+name+"=hunter2&"+query, keepHarmless); strings.Contains(got, "hunter2") {
			t.Errorf("got %s", got)
		}
	})
}
