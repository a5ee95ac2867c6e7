package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// proxy is an HTTP proxy that lets who knows alice's password connect, and after that answers as answer says.
func proxy(t *testing.T, answer func(net.Conn, *http.Request)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				request, err := http.ReadRequest(bufio.NewReader(conn))
				if err == nil {
					answer(conn, request)
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// lets connects whoever comes with the password.
func lets(conn net.Conn, request *http.Request) {
	request.Header.Set("Authorization", request.Header.Get("Proxy-Authorization"))
	if name, password, _ := request.BasicAuth(); request.Method != http.MethodConnect || name != "alice" || password != "s3cret" {
		io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
		return
	}
	far, err := net.Dial("tcp", request.Host)
	if err != nil {
		io.WriteString(conn, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
		return
	}
	defer far.Close()
	io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	go io.Copy(far, conn)
	io.Copy(conn, far)
}

func TestThroughAProxy(t *testing.T) {
	listener, clientTLS := listen(t)
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if Handshake(context.WithoutCancel(t.Context()), conn.(*tls.Conn), time.Minute) == nil {
				if session, err := Server(conn, Config{}); err == nil {
					defer session.Close()
				}
			}
		}
	}()
	good := proxy(t, lets)
	for _, c := range []struct {
		reason, setting, address, want string
	}{
		{"it lets the agent through", "http://alice:s3cret@" + good, listener.Addr().String(), ""},
		{"it does not know the agent", "http://alice:wrong-s3cret@" + good, listener.Addr().String(), "http://NAME:PASSWORD@HOST:PORT"},
		{"it wants a password", "http://" + good, listener.Addr().String(), "it wants a name and a password"},
		{"it does not reach the hub", "http://alice:s3cret@" + good, "127.0.0.1:1", "does not let the agent connect to 127.0.0.1:1: 502"},
		{"it is not there", "http://alice:s3cret@127.0.0.1:1", listener.Addr().String(), "connection refused"},
		{"it speaks no TLS", "https://alice:s3cret@" + good, listener.Addr().String(), "the proxy https://alice:xxxxx@"},
		{"it answers with something else", "http://alice:s3cret@" + proxy(t, func(conn net.Conn, _ *http.Request) {
			io.WriteString(conn, "220 mail.example.com ESMTP\r\n")
		}), listener.Addr().String(), "its answer to CONNECT"},
		{"it never ends its answer", "http://alice:s3cret@" + proxy(t, func(conn net.Conn, _ *http.Request) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(conn, "X: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
					return
				}
			}
		}), listener.Addr().String(), "its answer to CONNECT"},
		{"it talks on", "http://alice:s3cret@" + proxy(t, func(conn net.Conn, _ *http.Request) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nwelcome")
		}), listener.Addr().String(), "not one that lets TLS through"},
	} {
		through, err := ProxyOf(c.setting)
		if err != nil {
			t.Fatal(err)
		}
		session, err := Dial(t.Context(), DialConfig{Address: c.address, TLS: clientTLS, Proxy: through})
		if session != nil {
			session.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.reason, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error tells the password: %v", c.reason, err)
		}
	}
}

func TestAProxyThatNeverAnswers(t *testing.T) {
	through, err := ProxyOf("http://" + proxy(t, func(conn net.Conn, _ *http.Request) { io.Copy(io.Discard, conn) }))
	if err != nil {
		t.Fatal(err)
	}
	for reason, config := range map[string]DialConfig{
		"the dial is late":  {Timeout: 20 * time.Millisecond},
		"the caller leaves": {},
	} {
		config.Address, config.TLS, config.Proxy = "127.0.0.1:1", &tls.Config{}, through
		ctx, cancel := context.WithCancel(t.Context())
		if config.Timeout == 0 {
			time.AfterFunc(20*time.Millisecond, cancel)
		}
		_, err := Dial(ctx, config)
		var timeout net.Error
		if !errors.Is(err, context.Canceled) && !(errors.As(err, &timeout) && timeout.Timeout()) {
			t.Errorf("%s: %v", reason, err)
		}
		cancel()
	}
}

func TestProxyOf(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://env:s3cret@proxy.example.com:3128")
	t.Setenv("NO_PROXY", "inside.example.com,10.0.0.0/8")
	for _, c := range []struct {
		reason, setting, hub, want string
	}{
		{"the environment says it", "", "hub.example.com:7443", "http://env:s3cret@proxy.example.com:3128"},
		{"the environment excepts the name", "", "hub.inside.example.com:7443", ""},
		{"the environment excepts the network", "", "10.1.2.3:7443", ""},
		{"a setting counts more", "http://other.example.com", "hub.inside.example.com:7443", "http://other.example.com"},
	} {
		choose, err := ProxyOf(c.setting)
		if err != nil {
			t.Fatal(err)
		}
		got, err := choose(&url.URL{Scheme: "https", Host: c.hub})
		text := ""
		if got != nil {
			text = got.String()
		}
		if err != nil || text != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.reason, text, err, c.want)
		}
	}
	for _, setting := range []string{"socks5://a:s3cret@proxy:1080", "proxy.example.com:3128", "http://", "http://a:s3cret@%zz", "://s3cret", "corp:s3cret@proxy:3128", "http:a:s3cret@proxy:3128"} {
		if _, err := ProxyOf(setting); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: got %v", setting, err)
		}
	}
}
