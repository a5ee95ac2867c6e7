package programtest

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"umbel.dev/umbel/internal/kube/ports"
)

// startTimeout is how long a server may take until it answers: tests run beside others.
const startTimeout = time.Minute

// Serve starts a server, whose words go to the end of a file, and returns once it answers a GET of the URL with 200 OK. What it
// returns ends the server, and may be called more than once; the end of the test does it too.
func Serve(t testing.TB, cmd *exec.Cmd, logFile string, client *http.Client, url string) (stop func()) {
	t.Helper()
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		log.Close()
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its log
		log.Close()
	}()
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	})
	t.Cleanup(stop)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	name := filepath.Base(cmd.Path)
	for {
		answer, err := client.Get(url)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return stop
			}
		}
		select {
		case <-tick.C:
		case <-ended:
			said, _ := os.ReadFile(logFile)
			t.Fatalf("%s has ended:\n%s", name, said)
		case <-ctx.Done():
			t.Fatalf("%s does not answer at %s: %v", name, url, err)
		}
	}
}

// FreeAddress returns an address of loopback that nobody listens on, whose port is given to nobody else for a minute, and to no connection
// at any time: a server may start there, end, and start again.
func FreeAddress(t testing.TB) string {
	t.Helper()
	free, err := ports.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(free[0]))
}
