package kubeproxy

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"golang.org/x/net/http2"
	"k8s.io/client-go/rest"
)

// pieces is the writer of an answer that notes what it is given at once.
type pieces struct {
	http.ResponseWriter
	sizes []int
}

func (p *pieces) Write(b []byte) (int, error) {
	p.sizes = append(p.sizes, len(b))
	return len(b), nil
}

func TestAnAnswerOverHTTP2FitsRecordsOfTLS(t *testing.T) {
	for _, c := range []struct {
		reason string
		pieces bool
		length int
		want   []int
	}{
		{"small", true, 5, []int{5}},
		{"one that fits", true, framed, []int{framed}},
		{"several", true, 2*framed + 5, []int{framed, framed, 5}},
		{"over HTTP/1.1 there are no frames", false, 2*framed + 5, []int{2*framed + 5}},
	} {
		p := &pieces{}
		u := &upgradable{ResponseWriter: p, pieces: c.pieces}
		n, err := u.Write(make([]byte, c.length))
		if n != c.length || err != nil || !slices.Equal(p.sizes, c.want) {
			t.Errorf("%s: wrote %d of %d, %v, in pieces of %d; want %d", c.reason, n, c.length, err, p.sizes, c.want)
		}
	}
}

// What comes in small pieces, over HTTP/2 and through a tunnel, arrives as it was sent.
func TestALargeAnswerArrivesWhole(t *testing.T) {
	sent := make([]byte, 4<<20+7)
	rand.Read(sent)
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for rest := sent; len(rest) > 0; rest = rest[min(len(rest), 3000):] {
			w.Write(rest[:min(len(rest), 3000)])
			http.NewResponseController(w).Flush()
		}
	}))
	api.EnableHTTP2 = true
	api.StartTLS()
	t.Cleanup(api.Close)
	way := throughTo(t, &rest.Config{Host: api.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	got := httptest.NewRecorder()
	if err := Forward(got, httptest.NewRequest(http.MethodGet, "/logs", nil), way, alice, "/logs"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Body.Bytes(), sent) {
		t.Errorf("%d bytes came that are not the %d that were sent", got.Body.Len(), len(sent))
	}
}

func TestAnAPIServerIsAskedForLargeFrames(t *testing.T) {
	certified := httptest.NewUnstartedServer(nil)
	certified.StartTLS()
	defer certified.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certified.TLS.Certificates, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	plain, _, err := transports(&rest.Config{
		Host: listener.Addr().String(), BearerToken: "the agent's own", TLSClientConfig: rest.TLSClientConfig{Insecure: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	asking := make(chan struct{})
	go func() {
		defer close(asking)
		request, _ := http.NewRequest(http.MethodGet, "https://"+listener.Addr().String(), nil)
		if _, err := plain.RoundTrip(request); err == nil {
			t.Error("there was an answer")
		}
	}()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		t.Fatal(err)
	}
	frame, err := http2.NewFramer(conn, conn).ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	if size, ok := frame.(*http2.SettingsFrame).Value(http2.SettingMaxFrameSize); !ok || int(size) != large.size {
		t.Errorf("frames may have %d bytes (said: %v), want %d", size, ok, large.size)
	}
	conn.Close()
	listener.Close()
	<-asking
}
