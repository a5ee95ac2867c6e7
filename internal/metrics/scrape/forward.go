package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"umbel.dev/umbel/internal/metrics/edge"
)

// forwardProtocol is how a port of a pod is forwarded, as kubectl names it.
const forwardProtocol = "portforward.k8s.io"

// openForwarded asks a pod through a port of it that the API server forwards, with what its monitor shows to it.
func (s *Scraper) openForwarded(ctx context.Context, t edge.Target, secrets *vault) (io.ReadCloser, error) {
	authorization, err := secrets.authorization(ctx, t.Access)
	if err != nil {
		return nil, err
	}
	secured, err := secrets.tls(ctx, t.Access, "tlsConfig", t.Access.TLSConfig)
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if t.Secure {
		scheme = "https"
	}
	at := url.URL{Scheme: scheme, Host: net.JoinHostPort(t.Address, strconv.Itoa(int(t.Port))), Path: t.Path, RawQuery: t.Params.Encode()}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", accept)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	way := &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return s.forward(ctx, t) },
		TLSClientConfig: secured, DisableKeepAlives: true, DisableCompression: true,
	}
	answer, err := (&http.Client{Transport: way, CheckRedirect: followed(&t)}).Do(r)
	var failed *url.Error
	if errors.As(err, &failed) { // without what was asked, which may have parameters
		err = failed.Err
	}
	if err != nil {
		return nil, fmt.Errorf("asking it as %s says: %w", t.Access.Of, err)
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		if answer.StatusCode == http.StatusUnauthorized {
			secrets.tokens.forget(authorization)
		}
		return nil, fmt.Errorf("asking it as %s says: it answered %s", t.Access.Of, status(answer))
	}
	return answer.Body, nil
}

// forward opens a connection to a port of a pod, from inside of the pod, through the API server and the kubelet.
func (s *Scraper) forward(ctx context.Context, t edge.Target) (net.Conn, error) {
	at := s.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(t.Namespace).Name(t.Pod).SubResource("portforward").URL()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set(httpstream.HeaderProtocolVersion, forwardProtocol)
	all, err := s.upgraded(r)
	if err != nil {
		return nil, fmt.Errorf("forwarding port %d: %w", t.Port, err)
	}
	c := &forwarded{all: all, said: make(chan struct{})}
	header := http.Header{}
	header.Set(corev1.PortHeader, strconv.Itoa(int(t.Port)))
	header.Set(corev1.PortForwardRequestIDHeader, "0")
	header.Set(corev1.StreamType, corev1.StreamTypeError)
	trouble, err := all.CreateStream(header)
	if err == nil {
		trouble.Close() // nothing is written there
		header.Set(corev1.StreamType, corev1.StreamTypeData)
		c.Stream, err = all.CreateStream(header)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("forwarding port %d: %w", t.Port, err), all.Close())
	}
	go c.listen(trouble)
	return c, nil
}

// upgraded sends a request to the API server, whose connection carries streams from then on.
func (s *Scraper) upgraded(r *http.Request) (httpstream.Connection, error) {
	secured, err := rest.TLSConfigFor(s.Config)
	if err != nil {
		return nil, err
	}
	proxy := s.Config.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	over, err := spdy.NewRoundTripperWithConfig(spdy.RoundTripperConfig{TLS: secured, Proxier: proxy})
	if err != nil {
		return nil, err
	}
	known, err := rest.HTTPWrappersForConfig(s.Config, over)
	if err != nil {
		return nil, err
	}
	answer, err := known.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return over.NewConnection(answer)
}

// forwarded is a connection to a port of a pod.
type forwarded struct {
	httpstream.Stream
	all  httpstream.Connection
	said chan struct{} // what the kubelet says of trouble, all of it
	why  string        // that, once said is closed
}

// listen waits until the kubelet says why it does not go on, or the connection ends.
func (c *forwarded) listen(trouble io.Reader) {
	defer close(c.said)
	text, _ := io.ReadAll(io.LimitReader(trouble, 4<<10))
	if c.why = strings.TrimSpace(string(text)); c.why != "" {
		_ = c.Stream.Reset() // who reads does not wait in vain
	}
}

// Read implements net.Conn.
func (c *forwarded) Read(into []byte) (int, error) {
	n, err := c.Stream.Read(into)
	if err != nil && n == 0 {
		select {
		case <-c.said:
			if c.why != "" {
				err = errors.New(c.why)
			}
		default:
		}
	}
	return n, err
}

// Close implements net.Conn.
func (c *forwarded) Close() error {
	err := c.all.Close()
	<-c.said
	return err
}

// LocalAddr implements net.Conn.
func (c *forwarded) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr implements net.Conn.
func (c *forwarded) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline implements net.Conn; who asks closes the connection when its time is over.
func (c *forwarded) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (c *forwarded) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (c *forwarded) SetWriteDeadline(time.Time) error { return nil }
