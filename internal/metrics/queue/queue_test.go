package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T, dir string, size int64) (*Queue, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	q, err := Open(dir, size, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return q, log
}

func put(t *testing.T, q *Queue, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		if err := q.Put([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
}

// drain takes all that is in a queue.
func drain(t *testing.T, q *Queue) (all []string) {
	t.Helper()
	for q.Len() > 0 {
		body, number, err := q.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(body))
		if err := q.Done(number); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestWhatIsPutOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	q, _ := open(t, dir, DefaultSize)
	put(t, q, "a", "b", "c")
	if _, number, err := q.Next(t.Context()); err != nil || q.Done(number) != nil {
		t.Fatal(err)
	}
	// What a killed agent leaves of a write, and what is somebody else's.
	for _, name := range []string{".00000000000000000004.request123", "notes"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	q, _ = open(t, dir, DefaultSize)
	put(t, q, "d")
	if diff := cmp.Diff([]string{"b", "c", "d"}, drain(t, q)); diff != "" {
		t.Error(diff)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != "notes" {
		t.Errorf("left: %v, %v", files, err)
	}
}

func TestTheOldestGoesWhenItIsFull(t *testing.T) {
	q, log := open(t, t.TempDir(), 10)
	put(t, q, "aaaa", "bbbb")
	_, first, err := q.Next(t.Context()) // on its way
	if err != nil {
		t.Fatal(err)
	}
	put(t, q, "cccc", "dd")
	if err := q.Done(first); err != nil { // it is gone already, and takes none along
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"bbbb", "cccc", "dd"}, drain(t, q)); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(log.String(), "requests=1") {
		t.Errorf("the log does not say so: %s", log)
	}
}

func TestNextWaits(t *testing.T) {
	q, _ := open(t, t.TempDir(), DefaultSize)
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if body, _, err := q.Next(ctx); err != nil || string(body) != "a" {
			t.Errorf("got %s, %v", body, err)
		}
	})
	put(t, q, "a")
	waiting.Wait()
	cancel()
	drain(t, q)
	if _, _, err := q.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// hub answers as it is told, one after the other, then 204.
type hub struct {
	mu      sync.Mutex
	answers []string // "CODE", "CODE Retry-After", or "lost", for a request that was kept and whose answer did not come back
	got     []string
	done    func() bool
	end     context.CancelFunc
}

func (h *hub) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	answer := "204"
	if len(h.answers) > 0 {
		answer, h.answers = h.answers[0], h.answers[1:]
	}
	h.got = append(h.got, string(body)+" "+answer)
	if answer == "204" && h.done() {
		h.end()
	}
	if answer == "lost" {
		return nil, errors.New("the connection was reset")
	}
	var code, after int
	fmt.Sscan(answer, &code, &after) //nolint:errcheck // there may be one
	response := &http.Response{StatusCode: code, Status: answer, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("because"))}
	if after > 0 {
		response.Header.Set("Retry-After", fmt.Sprint(after))
	}
	return response, nil
}

func TestSendTriesAgainWhatMayYetBeTaken(t *testing.T) {
	q, log := open(t, t.TempDir(), DefaultSize)
	put(t, q, "a", "b", "c")
	ctx, cancel := context.WithCancel(t.Context())
	h := &hub{answers: []string{"lost", "503", "204", "429 1", "400", "204"}, end: cancel, done: func() bool { return q.Len() == 1 }}
	if err := q.Send(ctx, h); err != nil {
		t.Fatal(err)
	}
	want := []string{"a lost", "a 503", "a 204", "b 429 1", "b 400", "c 204"}
	if diff := cmp.Diff(want, h.got); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(log.String(), "does not keep all of what was measured") {
		t.Errorf("the log: %s", log)
	}
}

// childEnv has this test's program be an agent that is killed.
const childEnv = "UMBEL_TEST_QUEUE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
	}
	os.Exit(m.Run())
}

// child measures for ever, and says of each request that it is kept.
func child(dir string) {
	q, err := Open(dir, DefaultSize, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		if err := q.Put(bytes.Repeat([]byte(fmt.Sprintln(i)), 1000)); err != nil {
			panic(err)
		}
		fmt.Println(i)
	}
}

// TestAnAgentThatIsKilledHasWhatItKept kills a process that keeps requests, and looks whether each is whole.
func TestAnAgentThatIsKilledHasWhatItKept(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 64)
	if _, err := io.ReadFull(out, said); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(out)
	cmd.Wait() //nolint:errcheck // it was killed
	kept := strings.Count(string(said)+string(rest), "\n")
	q, _ := open(t, dir, DefaultSize)
	all := drain(t, q)
	if len(all) < kept {
		t.Errorf("%d requests are there, and %d were kept", len(all), kept)
	}
	for i, body := range all {
		if want := strings.Repeat(fmt.Sprintln(i), 1000); body != want {
			t.Fatalf("request %d is not whole", i)
		}
	}
}
