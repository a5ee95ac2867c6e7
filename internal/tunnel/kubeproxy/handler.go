package kubeproxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/tunnel"
)

// API is an API server that people reach through somebody else, who says to it for whom each request is made.
type API struct {
	target    *url.URL
	transport http.RoundTripper
}

// NewAPI returns the API server of config. The credentials of config have to allow impersonation.
func NewAPI(config *rest.Config) (*API, error) {
	target, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("the address of the API server: %w", err)
	}
	plain, upgrading, err := transports(config)
	if err != nil {
		return nil, err
	}
	return &API{target: target, transport: byUpgrade{plain, upgrading}}, nil
}

// Serve sends a request to the API server as the identity, and its answer back. path is the path there, escaped. What
// the request itself says of who somebody is, credentials included, stays behind. Nothing was answered when it fails.
func (a *API) Serve(w http.ResponseWriter, r *http.Request, identity Identity, path string) error {
	if identity.User == "" {
		return ErrNoIdentity // without it the request would be made with the rights of config
	}
	return forward(w, r, a.transport, path, func(p *httputil.ProxyRequest) {
		p.SetURL(a.target)
		strip(p.Out.Header)
		identity.impersonate(p.Out.Header)
	})
}

// handler is the agent's end.
type handler struct {
	api *API
	log *slog.Logger
}

// NewHandler serves requests that come through the tunnel: it sends them to the API server of config, as the identity
// that each carries.
func NewHandler(config *rest.Config, log *slog.Logger) (http.Handler, error) {
	api, err := NewAPI(config)
	if err != nil {
		return nil, err
	}
	return &handler{api: api, log: log}, nil
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	identity, err := ParseIdentity(r.Header)
	if err != nil {
		h.log.Warn("a request through the tunnel was refused", "method", r.Method, "path", r.URL.Path, "error", err)
		WriteError(w, http.StatusUnauthorized, err.Error())
		return
	}
	err = h.api.Serve(w, r, identity.OnMember(), r.URL.EscapedPath())
	if err != nil {
		h.log.Warn("a request through the tunnel failed", "method", r.Method, "path", r.URL.Path, "error", err)
		WriteError(w, http.StatusBadGateway, "the agent cannot reach the member's API server: "+err.Error())
	}
}

// transports returns how the API server is reached: as config likes it, and over HTTP/1.1 for upgrades.
func transports(config *rest.Config) (plain, upgrading http.RoundTripper, err error) {
	config = rest.CopyConfig(config)
	config.Impersonate = rest.ImpersonationConfig{}
	config.Timeout = 0 // a watch lasts
	if config.Dial == nil {
		config.Dial = tunnel.DialSocket
	}
	if plain, err = rest.TransportFor(config); err != nil {
		return nil, nil, fmt.Errorf("reaching the API server: %w", err)
	}
	readLargeFrames(plain)
	config.NextProtos = []string{"http/1.1"}
	if upgrading, err = rest.TransportFor(config); err != nil {
		return nil, nil, fmt.Errorf("reaching the API server: %w", err)
	}
	return plain, upgrading, nil
}

// readLargeFrames has answers over HTTP/2 come in frames as large as what they are copied with. Otherwise they have 16 kB, and each
// costs the API server a goroutine and two records of TLS.
func readLargeFrames(through http.RoundTripper) {
	for {
		wrapper, ok := through.(utilnet.RoundTripperWrapper)
		if !ok {
			break
		}
		through = wrapper.WrappedRoundTripper()
	}
	if transport, ok := through.(*http.Transport); ok {
		transport.HTTP2 = &http.HTTP2Config{MaxReadFrameSize: large.size}
	}
}

// byUpgrade sends requests that ask for an upgrade another way.
type byUpgrade struct{ plain, upgrading http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b byUpgrade) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Upgrade") != "" {
		answer, err := b.upgrading.RoundTrip(r)
		if err == nil {
			goesAhead(answer)
		}
		return answer, err
	}
	answer, err := b.plain.RoundTrip(r)
	if err == nil {
		answer.Body = &gathered{ReadCloser: answer.Body, over: r.Context().Done(), gather: tunnel.Gather{For: gathering}}
	}
	return answer, err
}

// auditID is the header by which the audit logs of hub and member name the same request.
const auditID = "Audit-ID"

// ErrSmuggled: a client tried to say who it is by a header.
var ErrSmuggled = errors.New("impersonation through the hub is not possible")

// Forward sends a request of the identity into a tunnel and its answer back. path is the path on the member, escaped.
func Forward(w http.ResponseWriter, r *http.Request, through http.RoundTripper, identity Identity, path string) error {
	if name, found := Smuggled(r.Header); found {
		return fmt.Errorf("%w: remove the header %s (kubectl sends it for --as and --as-group)", ErrSmuggled, name)
	}
	said, err := identity.encode()
	if err != nil {
		return err
	}
	return forward(w, r, through, path, func(p *httputil.ProxyRequest) {
		p.Out.URL.Scheme, p.Out.URL.Host = "http", "member"
		p.Out.Host = "member"
		strip(p.Out.Header)
		p.Out.Header.Set(IdentityHeader, said)
	})
}

// forward sends a request, at the escaped path and as rewrite has it, and its answer back. A request that is over before there
// is an answer, because the caller went away or whoever serves it ends, has its connection broken off: a handler that just
// returned would have answered 200, with nothing, which reads as all there is.
func forward(w http.ResponseWriter, r *http.Request, through http.RoundTripper, path string, rewrite func(*httputil.ProxyRequest)) error {
	unescaped, err := url.PathUnescape(path)
	if err != nil {
		return fmt.Errorf("path %q: %w", path, err)
	}
	var failed error
	client := &upgradable{ResponseWriter: w, stream: tunnel.StreamOf(r.Context()), pieces: r.ProtoMajor == 2}
	defer client.release() //nolint:errcheck // whoever reads finds that the answer ends before its end
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Path, p.Out.URL.RawPath = unescaped, path
			if id := p.In.Header.Get(auditID); id != "" { // which a client could have named in Connection, and so dropped
				p.Out.Header.Set(auditID, id)
			}
			rewrite(p)
		},
		Transport:      through,
		ModifyResponse: client.watchOver,
		BufferPool:     buffersFor(r),
		FlushInterval:  -1, // a watch is to be seen as it happens
		ErrorLog:       slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		ErrorHandler:   func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
	}
	proxy.ServeHTTP(client, client.trace(r))
	if failed != nil && r.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	return failed
}

// WriteError answers with a Kubernetes Status, which is what kubectl shows.
func WriteError(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Message: message, Reason: reason(code), Code: int32(code),
	})
}

func reason(code int) metav1.StatusReason {
	switch code {
	case http.StatusUnauthorized:
		return metav1.StatusReasonUnauthorized
	case http.StatusForbidden:
		return metav1.StatusReasonForbidden
	case http.StatusNotFound:
		return metav1.StatusReasonNotFound
	case http.StatusBadRequest:
		return metav1.StatusReasonBadRequest
	case http.StatusTooManyRequests:
		return metav1.StatusReasonTooManyRequests
	case http.StatusServiceUnavailable, http.StatusBadGateway:
		return metav1.StatusReasonServiceUnavailable
	}
	return metav1.StatusReasonUnknown
}
