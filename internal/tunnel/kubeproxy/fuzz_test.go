package kubeproxy

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"umbel.dev/umbel/internal/tunnel"
)

// FuzzUpgradeAnswer has a member answer an upgrade with anything. The client hears HTTP or nothing; it is upgraded to what
// it asked for or not at all.
func FuzzUpgradeAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\nhello",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 300<<10), "garbage", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var running sync.WaitGroup
		member := tunnel.NewTransport(func(context.Context) (net.Conn, error) {
			near, far := net.Pipe()
			running.Go(func() {
				far.Read(make([]byte, 64<<10)) // of the request, as much as there is
				go io.Copy(io.Discard, far)
				far.Write(raw)
				far.Close()
			})
			return near, nil
		})
		defer member.CloseIdleConnections()
		door := tunnel.NewListener(&net.TCPAddr{})
		var logged strings.Builder
		hub := &http.Server{ErrorLog: log.New(&logged, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := Forward(w, r, member, alice, "/exec"); err != nil {
				WriteError(w, http.StatusBadGateway, err.Error())
			}
		})}
		running.Go(func() { hub.Serve(door) })
		near, far := net.Pipe()
		running.Go(func() { door.Deliver(far) })
		running.Go(func() {
			io.WriteString(near, "POST /exec HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		})
		reader := bufio.NewReader(near)
		answer, err := http.ReadResponse(reader, &http.Request{Method: http.MethodPost})
		for err == nil && answer.StatusCode >= 100 && answer.StatusCode < 200 && answer.StatusCode != http.StatusSwitchingProtocols {
			answer, err = http.ReadResponse(reader, &http.Request{Method: http.MethodPost})
		}
		switch {
		case err == nil && answer.StatusCode == http.StatusSwitchingProtocols && !strings.EqualFold(answer.Header.Get("Upgrade"), "echo"):
			t.Errorf("upgraded to %q", answer.Header.Get("Upgrade"))
		case err == nil:
			io.Copy(io.Discard, answer.Body)
		case err != io.ErrUnexpectedEOF && err != io.EOF:
			t.Errorf("the client heard what is not HTTP: %v", err)
		}
		near.Close()
		hub.Close()
		door.Close()
		running.Wait()
		if strings.Contains(logged.String(), "panic serving") && !strings.Contains(logged.String(), "abort Handler") {
			t.Error(logged.String())
		}
	})
}
