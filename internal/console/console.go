package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/gateway/lobby"
	"umbel.dev/umbel/internal/identity/signin"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// Prefix is below which the console is served.
const Prefix = "/console/"

// Door is the gateway, as the console uses it for people.
type Door interface {
	// Knows returns who has a bearer token. code is how to answer where the error says that nobody is known.
	Knows(r *http.Request, token string) (who user.Info, code int, err error)
	// Can says whether somebody may do something in the hub's own API.
	Can(ctx context.Context, what authorizer.AttributesRecord) (bool, error)
	// ServeAs answers a request at a path of the gateway as it answers that person, whatever the request says of who somebody is.
	ServeAs(w http.ResponseWriter, r *http.Request, who user.Info)
	// Issuers are the identity providers that people may sign in with.
	Issuers() []signin.Issuer
	// Attempt counts a sign-in from an address, and says whether it may go on; good takes it back.
	Attempt(r *http.Request) (good func(), ok bool)
}

// Config is what a console needs.
type Config struct {
	Door    Door
	Version string
	// Now is the clock. The default is the computer's.
	Now func() time.Time
	// Audit is where sign-ins are written down; nil records nothing.
	Audit *audit.Log
	Log   *slog.Logger
}

// Console is the web console of a hub.
type Console struct {
	Config

	cache     client.Reader // of the manager
	live      client.Reader // asks the API
	keys      *keys
	providers providers
	pulse     pulse
	news      *news
	// capacities are the answers of the last half minute.
	capacities capacities
	// plans and searches are those that are being made: each asks many clusters. tries are the selectors that are being tried.
	plans, searches, tries turns
	mux                    *http.ServeMux
}

// Setup adds the console to the manager. It reads the key of sessions at once, or makes it.
func Setup(ctx context.Context, mgr ctrl.Manager, config Config) (*Console, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	clients, err := kubernetes.NewForConfig(mgr.GetConfig())
	if err != nil {
		return nil, fmt.Errorf("making the console's client: %w", err)
	}
	c := &Console{
		Config: config, cache: mgr.GetClient(), live: mgr.GetAPIReader(),
		keys: &keys{clients: clients, now: config.Now, log: config.Log}, news: newNews(), plans: make(turns, plansAtOnce), searches: make(turns, searchesAtOnce),
		tries: make(turns, triesAtOnce),
	}
	if err := c.keys.load(ctx); err != nil {
		return nil, err
	}
	if err := mgr.Add(c.keys); err != nil {
		return nil, err
	}
	if err := c.news.watch(ctx, mgr.GetCache()); err != nil {
		return nil, err
	}
	c.mux = c.routes()
	return c, nil
}

// routes is what is served where. What a person asks for has its session opened first.
func (c *Console) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/console/", c.servePage)
	mux.HandleFunc("GET /console/assets/", c.serveAsset)
	mux.HandleFunc("GET /console/login", c.serveLogin)
	mux.HandleFunc("GET /console/callback", c.serveCallback)
	mux.HandleFunc("GET /console/api/ways", c.serveWays)
	mux.HandleFunc("POST /console/api/signin", c.serveSignIn)
	mux.HandleFunc("POST /console/api/signout", c.known(c.serveSignOut))
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request, *session){
		"GET /console/api/me":                          c.serveMe,
		"GET /console/api/fleet":                       c.serveFleet,
		"GET /console/api/clusters":                    c.serveClusters,
		"GET /console/api/clusters/{name}":             c.serveCluster,
		"GET /console/api/packages":                    c.servePackages,
		"GET /console/api/packages/{ns}/{name}":        c.servePackage,
		"GET /console/api/placements":                  c.servePlacements,
		"GET /console/api/foresee":                     c.serveForeseen,
		"GET /console/api/packages/{ns}/{name}/plan":   c.servePlan,
		"GET /console/api/packages/{ns}/{name}/drift":  c.serveDrift,
		"GET /console/api/packages/{ns}/{name}/losses": c.serveLosses,
		"GET /console/api/search":                      c.serveSearch,
		"GET /console/api/manifests/{resource}":        c.serveManifest,
		"POST /console/api/manifests/{resource}":       c.serveWritten,
		"GET /console/api/clusters/{name}/manifest":    c.serveMemberManifest,
		"GET /console/api/dashboards":                  c.serveDashboards,
		"GET /console/api/dashboards/{ns}/{name}":      c.serveDashboard,
		"GET /console/api/find":                        c.serveFind,
		"GET /console/api/alerts":                      c.serveAlerts,
		"GET /console/api/capacity":                    c.serveCapacity,
		"GET /console/api/stream":                      c.serveStream,
		"/console/k8s/":                                c.serveHubAPI,
		"/console/clusters/{name}/k8s/":                c.serveMemberAPI,
		"GET /console/api/metrics/":                    c.serveMetrics,
		"GET /console/api/audit":                       c.serveAudit,
		"GET /console/api/history/{name}":              c.serveHistory,
	} {
		mux.HandleFunc(pattern, c.known(serve))
	}
	return mux
}

// hosts are what a host may look like that is named in a policy.
var hosts = regexp.MustCompile(`^[A-Za-z0-9.:\[\]-]{1,255}$`)

// ServeHTTP implements http.Handler below Prefix.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	guard(w.Header(), r.Host)
	if why := foreign(r); why != "" {
		c.Log.Warn("a request to the console was refused", "peer", r.RemoteAddr, "path", r.URL.Path, "why", why)
		kubeproxy.WriteError(w, http.StatusForbidden, why)
		return
	}
	c.mux.ServeHTTP(w, r)
}

// guard says to the browser what the console's pages may do. Scripts are those that are embedded, and not whatever else has this
// origin: a member's API server has it too.
func guard(h http.Header, host string) {
	assets := "'none'"
	if hosts.MatchString(host) {
		assets = "https://" + host + "/console/assets/"
	}
	h.Set("Content-Security-Policy", "default-src 'none'; script-src "+assets+"; style-src "+assets+"; img-src "+assets+" data:; font-src "+assets+
		"; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// ownHeader is on every change that the console's page asks for: no form, and no page of another origin, can send it.
const ownHeader = "X-Umbel-Console"

// foreign says why a request is not one of the console's own page; empty when it may be.
func foreign(r *http.Request) string {
	upgrade := r.Header.Get("Upgrade") != ""
	origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
	reads := (r.Method == http.MethodGet || r.Method == http.MethodHead) && !upgrade
	switch {
	case !reads && !upgrade && r.Header.Get(ownHeader) != "1":
		return "a change through the console carries the header " + ownHeader + ": 1; programs talk to the hub at /hub and /clusters/NAME, with a token"
	case upgrade && origin == "":
		return "a stream through the console begins in a browser, which says its origin"
	case !reads && origin != "" && origin != "https://"+r.Host:
		return fmt.Sprintf("the request comes from a page of %q, which is not this console", origin)
	case !reads && site != "" && site != "same-origin":
		return fmt.Sprintf("the request comes from a page that is %s, not of this console", site)
	}
	return ""
}

// known opens the session of a request, and hands on who it is.
func (c *Console) known(serve func(http.ResponseWriter, *http.Request, *session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := c.open(r)
		if err != nil {
			kubeproxy.WriteError(w, http.StatusUnauthorized, err.Error())
			return
		}
		lobby.Recognised(r.Context())
		serve(w, r, &s)
	}
}

// turns are for what is dear: so many of it at a time.
type turns chan struct{}

// begin waits for a turn, which end gives back. what says what others are busy with.
func (t turns) begin(ctx context.Context, what string) (end func(), err error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, refused(http.StatusServiceUnavailable, "other %s are being made, and none was done in time: try again", what)
	}
}

// answer writes what was asked for, or what is wrong.
func (c *Console) answer(w http.ResponseWriter, r *http.Request, what any, err error) {
	var no *refusal
	switch {
	case errors.As(err, &no):
		kubeproxy.WriteError(w, no.code, no.why)
	case err != nil && r.Context().Err() != nil: // nobody waits
	case err != nil:
		c.Log.Error("the console could not answer", "path", r.URL.Path, "error", err)
		kubeproxy.WriteError(w, http.StatusServiceUnavailable, "the hub cannot answer now: "+err.Error())
	default:
		writeJSON(w, r, what)
	}
}

// refusal is an error that has its own code.
type refusal struct {
	code int
	why  string
}

func (e *refusal) Error() string { return e.why }

// ofHub has what the hub's API or its door refused be told with its own code.
func ofHub(err error) error {
	if status, is := errors.AsType[*apierrors.StatusError](err); is && status.ErrStatus.Code >= 400 {
		return refused(int(status.ErrStatus.Code), "%s", err)
	}
	return err
}

func refused(code int, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

func writeJSON(w http.ResponseWriter, r *http.Request, what any) {
	w.Header().Set("Content-Type", "application/json")
	to, end := compressed(w, r)
	defer end()
	json.NewEncoder(to).Encode(what)
}

// must says whether somebody may do something in the hub's API, and is the error that says what it takes when not.
func (c *Console) must(ctx context.Context, s *session, verb, resource, namespace, name string) error {
	may, err := c.may(ctx, s, verb, resource, namespace, name)
	if err != nil || may {
		return err
	}
	on := resource + ".umbel.dev"
	if name != "" {
		on += fmt.Sprintf(" %q", name)
	}
	if namespace != "" {
		on += fmt.Sprintf(" in namespace %q", namespace)
	}
	return refused(http.StatusForbidden, "user %q may not see this: that takes the verb %q on %s of the hub; whoever gives out rights there can give it", s.User, verb, on)
}

func (c *Console) may(ctx context.Context, s *session, verb, resource, namespace, name string) (bool, error) {
	may, err := c.Door.Can(ctx, authorizer.AttributesRecord{User: s.who(), Verb: verb, Resource: resource, Namespace: namespace, Name: name})
	if err != nil {
		return false, fmt.Errorf("whether you may do this cannot be decided: %w", err)
	}
	return may, nil
}

// after is what follows a prefix in the path of a request, escaped as it came.
func after(r *http.Request, prefix string) string {
	return strings.TrimPrefix(r.URL.EscapedPath(), prefix)
}
