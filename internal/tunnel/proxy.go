package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// Proxy says through which HTTP proxy a URL is reached; nil is none.
type Proxy func(*url.URL) (*url.URL, error)

// ProxyOf returns the proxy that a setting names, http://… or https://…, with a name and a password in it if it wants
// them. Without a setting the environment says it, by HTTPS_PROXY and NO_PROXY. Errors do not tell the password.
func ProxyOf(setting string) (Proxy, error) {
	if setting == "" {
		return httpproxy.FromEnvironment().ProxyFunc(), nil
	}
	proxy, err := url.Parse(setting)
	if err != nil { // which would show it
		return nil, errors.New("the proxy is not a URL such as http://proxy.example.com:3128")
	}
	if err := checkProxy(proxy); err != nil {
		return nil, err
	}
	return func(*url.URL) (*url.URL, error) { return proxy, nil }, nil
}

func checkProxy(proxy *url.URL) error {
	if proxy.Scheme != "http" && proxy.Scheme != "https" || proxy.Opaque != "" || proxy.Hostname() == "" {
		// It is not shown: of NAME:PASSWORD@HOST without a scheme the name is the scheme, and all else is no secret to Redacted.
		return errors.New("the proxy is not one of http://[NAME:PASSWORD@]HOST:PORT and https://[NAME:PASSWORD@]HOST:PORT")
	}
	return nil
}

// Connect opens the connection for TLS with the hub: straight, or through a proxy. The name of whichever it is is looked up
// each time, and all of its addresses are tried.
func (c DialConfig) Connect(ctx context.Context) (net.Conn, error) {
	choose := c.Proxy
	if choose == nil {
		choose = httpproxy.FromEnvironment().ProxyFunc()
	}
	proxy, err := choose(&url.URL{Scheme: "https", Host: c.Address})
	if err != nil { // which would show it
		return nil, errors.New("the way to the hub cannot be chosen: is HTTPS_PROXY a URL such as http://proxy.example.com:3128?")
	}
	// net/http hands on no deadline, and without one the first address of a name takes as long as the kernel tries it.
	dialer := net.Dialer{Timeout: 15 * time.Second}
	if proxy == nil {
		conn, err := dialer.DialContext(ctx, "tcp", c.Address)
		if err != nil {
			return nil, err
		}
		return socketOf(conn), nil
	}
	if err := checkProxy(proxy); err != nil {
		return nil, err
	}
	conn, err := dialer.DialContext(ctx, "tcp", proxyAddress(proxy))
	if err != nil {
		return nil, fmt.Errorf("the proxy %s: %w", proxy.Redacted(), err)
	}
	through, err := pass(ctx, socketOf(conn), proxy, c.Address)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("the proxy %s: %w", proxy.Redacted(), err)
	}
	return through, nil
}

func proxyAddress(proxy *url.URL) string {
	port := proxy.Port()
	switch {
	case port != "":
	case proxy.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(proxy.Hostname(), port)
}

// pass asks the proxy at the other end of conn to connect to address (RFC 9110, 9.3.6).
func pass(ctx context.Context, conn net.Conn, proxy *url.URL, address string) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if proxy.Scheme == "https" {
		secure := tls.Client(conn, &tls.Config{ServerName: proxy.Hostname(), MinVersion: tls.VersionTLS12})
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secure
	}
	ask := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{"User-Agent": {"umbel-agent"}}}
	if proxy.User != nil {
		password, _ := proxy.User.Password()
		credentials := base64.StdEncoding.EncodeToString([]byte(proxy.User.Username() + ":" + password))
		ask.Header.Set("Proxy-Authorization", "Basic "+credentials)
	}
	if err := ask.Write(conn); err != nil {
		return nil, err
	}
	const mostSaid = 64 << 10 // of a proxy that never ends its answer
	reader := bufio.NewReader(io.LimitReader(conn, mostSaid))
	answer, err := http.ReadResponse(reader, ask)
	if err != nil {
		return nil, fmt.Errorf("its answer to CONNECT %s: %w", address, err)
	}
	switch {
	case answer.StatusCode == http.StatusProxyAuthRequired:
		return nil, fmt.Errorf("it wants a name and a password that it knows (%s): give them in the URL of the proxy, http://NAME:PASSWORD@HOST:PORT", answer.Status)
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it does not let the agent connect to %s: %s", address, answer.Status)
	case reader.Buffered() > 0:
		return nil, errors.New("it said more than that it has connected: it is not one that lets TLS through")
	}
	if !stop() {
		return nil, ctx.Err()
	}
	return conn, conn.SetDeadline(time.Time{})
}
