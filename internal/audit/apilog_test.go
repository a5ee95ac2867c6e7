package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// byKubeconfig is what an API server writes down of an administrator.
func byKubeconfig(n int) []byte {
	event := numbered(n)
	event.User, event.Verb = authenticationv1.UserInfo{Username: "admin"}, "patch"
	event.RequestURI = "/apis/umbel.dev/v1alpha1/memberclusters/prod-eu?fieldManager=umbel&access_token=hunter2"
	event.ObjectRef = &auditv1.ObjectReference{APIGroup: "umbel.dev", APIVersion: "v1alpha1", Resource: "memberclusters", Name: "prod-eu"}
	return encode(event)
}

// TestAPILog: the files of an API server are read in the order in which it wrote them, whatever else is in its folder, and what
// they say reads as what is ours.
func TestAPILog(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "audit-2026-11-25T10-00-00.000.log.gz", zipped(t, append(byKubeconfig(1), byKubeconfig(2)...)))
	write(t, dir, "audit-2026-11-26T09-00-00.000.log", byKubeconfig(3))
	write(t, dir, "audit-2026-11-26T09-00-00.000.log.gz", zipped(t, byKubeconfig(3))[:20]) // being compressed
	write(t, dir, "audit-2026-11-26T10-00-00.000.log", append(byKubeconfig(4), "garbage\n{\"kind\":\"Event\",\"stage\":\"x\",\"objectRef\":7}\n"...))
	write(t, dir, "audit.log", append(byKubeconfig(5), byKubeconfig(6)[:50]...))
	write(t, dir, "other-2026-11-26T09-00-00.000.log", byKubeconfig(99))
	log := APILog(filepath.Join(dir, "audit.log"))
	got, report := numbers(t, log)
	if diff := cmp.Diff([]int{1, 2, 3, 4, 5}, got); diff != "" || report.Damaged != 2 {
		t.Errorf("%d are damaged; events (-want +got):\n%s", report.Damaged, diff)
	}
	for _, c := range []struct {
		reason string
		query  Query
		want   int
	}{
		{"the member that it is about", Query{Clusters: []v1alpha1.ClusterName{"prod-eu"}}, 5},
		{"another", Query{Clusters: []v1alpha1.ClusterName{"prod"}}, 0},
		{"who did it", Query{User: "admin", Verbs: []string{"patch"}}, 5},
		{"somebody else", Query{User: "admi"}, 0},
		{"later", Query{Since: time.Now().Add(time.Hour)}, 0},
	} {
		found := 0
		_, err := log.Read(t.Context(), c.query, func(text []byte) error {
			if found++; bytes.Contains(text, []byte("hunter2")) || !bytes.Contains(text, []byte("fieldManager=umbel&access_token=REDACTED")) {
				t.Errorf("%s: %s", c.reason, text)
			}
			return nil
		})
		if err != nil || found != c.want {
			t.Errorf("%s: %d events and %v, want %d", c.reason, found, err, c.want)
		}
	}
	if got, _ := numbers(t, APILog(filepath.Join(dir, "nothing", "audit.log"))); len(got) != 0 {
		t.Errorf("before the first event there are %v", got)
	}
}

// TestAPILogIsFollowed: through the first event, and through a file that is rotated and compressed meanwhile.
func TestAPILogIsFollowed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	ctx, cancel := context.WithCancel(t.Context())
	seen, ended := make(chan int, 10), make(chan error, 1)
	go func() {
		_, err := APILog(path).Read(ctx, Query{Follow: true}, func(text []byte) error {
			var event auditv1.Event
			if err := json.Unmarshal(text, &event); err != nil {
				return err
			}
			n, _ := numberOf(text)
			seen <- n
			return nil
		})
		ended <- err
	}()
	expect := func(want ...int) {
		t.Helper()
		for _, n := range want {
			select {
			case got := <-seen:
				if got != n {
					t.Fatalf("got event %d, want %d", got, n)
				}
			case err := <-ended:
				t.Fatalf("it ended with %v, want event %d", err, n)
			}
		}
	}
	write(t, dir, "audit.log", byKubeconfig(1))
	expect(1)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.Write(byKubeconfig(2))
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Rename(path, filepath.Join(dir, "audit-2026-11-26T10-00-00.000.log"))
	}
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "audit.log", byKubeconfig(3))
	expect(2, 3)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// TestAPILogIsRotatedMeanwhile: a file that gets its name between the two looks, for rotated files and for the current one, is
// read all the same, also when nobody follows.
func TestAPILogIsRotatedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	const first, second = "audit-2026-11-26T09-00-00.000.log", "audit-2026-11-26T10-00-00.000.log"
	write(t, dir, first, byKubeconfig(1))
	r := &apiReader{path: filepath.Join(dir, "audit.log"), last: filepath.Join(dir, first)}
	if next, err := r.next(); next != "" || err != nil {
		t.Fatalf("after the last there is %q, %v", next, err)
	}
	write(t, dir, second, byKubeconfig(2))
	if more, err := r.current(); !more || err != nil {
		t.Errorf("there is more: %t, %v", more, err)
	}
	if next, err := r.next(); next != filepath.Join(dir, second) || err != nil {
		t.Errorf("the next one is %q, %v", next, err)
	}
	r.last = filepath.Join(dir, second)
	if more, err := r.current(); more || err != nil {
		t.Errorf("when all is read there is more: %t, %v", more, err)
	}
}

// TestAPILogIsRemoved: when the file that is followed is gone under every name, what was sent before is not sent again.
func TestAPILogIsRemoved(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "audit-2026-11-26T09-00-00.000.log", byKubeconfig(1))
	write(t, dir, "audit.log", byKubeconfig(2))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []int
	_, err := APILog(filepath.Join(dir, "audit.log")).Read(ctx, Query{Follow: true}, func(text []byte) error {
		n, _ := numberOf(text)
		switch got = append(got, n); {
		case n == 2:
			if err := os.Remove(filepath.Join(dir, "audit.log")); err != nil {
				return err
			}
			write(t, dir, "audit.log", byKubeconfig(3))
		case len(got) == 3:
			cancel()
		}
		return nil
	})
	if diff := cmp.Diff([]int{1, 2, 3}, got); diff != "" || err != nil {
		t.Errorf("%v; events (-want +got):\n%s", err, diff)
	}
}

// FuzzAPILog: whatever is in the file of an API server, reading it neither fails nor yields anything but events.
func FuzzAPILog(f *testing.F) {
	event := byKubeconfig(7)
	for _, seed := range [][]byte{nil, []byte("\n"), event, event[:50], []byte(`{"kind":"Event","stage":"x","requestURI":"?","objectRef":{}}` + "\n"), {0, 0xff, '\n'}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		write(t, dir, "audit.log", bytes.Join([][]byte{content, byKubeconfig(77)}, []byte("\n")))
		found := false
		_, err := APILog(filepath.Join(dir, "audit.log")).Read(t.Context(), Query{}, func(text []byte) error {
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
