package hub

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/gateway"
	"umbel.dev/umbel/internal/gateway/replicas"
	"umbel.dev/umbel/internal/gateway/trust"
	"umbel.dev/umbel/internal/identity/signin"
	"umbel.dev/umbel/internal/kube/process"
	"umbel.dev/umbel/internal/metrics/onward"
	"umbel.dev/umbel/internal/metrics/spread"
)

// Options are what Run needs.
type Options struct {
	// Home is the data folder.
	Home string
	// Kubeconfig names an existing Kubernetes to run on, by a file or as InCluster. Empty: the hub brings its own.
	Kubeconfig string
	// Listen are the addresses of the gateway and Port its port (0: as before, at first a free one). Advertise is what members
	// dial, as HOST or HOST:PORT (empty: as before).
	Listen    []netip.Addr
	Port      int
	Advertise string
	// RegistryURL names a registry for content and images, as https://HOST/PATH. Empty: the hub brings its own.
	RegistryURL string
	// Replica is which one of several replicas this hub is; the zero value is a hub that is one process.
	Replica Replica
	// Authentication is the path of an AuthenticationConfiguration, whose people may sign in (nil: as before).
	Authentication *string
	// Programs is the folder of umbel, umbel-kube and umbel-agent.
	Programs string
	// LocalSources are the folders of this machine's disk in which Packages may have their file:// repositories.
	LocalSources []string
	// MetricsRetention is how long what the fleet measures is kept, and MetricsSize how many bytes it may take on the disk; the defaults are
	// those of store.Config.
	MetricsRetention time.Duration
	MetricsSize      int64
	// CertificateLife is how long an agent's certificate is valid.
	CertificateLife time.Duration
	Log             *slog.Logger
}

// Replica is one of several replicas of a hub, which share one API.
type Replica struct {
	// Name is the same after a restart, and Address is where the other replicas reach this one's gateway, as HOST or HOST:PORT.
	Name, Address string
}

// collectAt is how much a hub's heap may grow, in percent of what lives in it, before garbage is collected. Nearly all that
// lives belongs to agents that do nothing, and makes little garbage: what may lie about on top of it is kept small.
const collectAt = 50

// Run runs the hub of a data folder until ctx ends, on the API that the options name or on its own.
func Run(ctx context.Context, o Options) error {
	held, err := lock(o.Home)
	if err != nil {
		return err
	}
	defer held.Close() //nolint:errcheck // it ends with the process at the latest
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	state, err := LoadState(o.Home, Changes{Port: o.Port, Address: o.Advertise, Authentication: o.Authentication})
	if err != nil {
		return err
	}
	if state.Authentication != "" { // before an API server is started in vain
		if err := signin.Check(state.Authentication); err != nil {
			return err
		}
	}
	serve := func(ctx context.Context, config *rest.Config, collector ...process.Process) error {
		return (&hub{Options: o, state: state, config: config, collector: collector}).serve(ctx)
	}
	if o.Kubeconfig == "" {
		return o.onOwnAPI(ctx, state, serve)
	}
	config, err := o.existing()
	if err != nil {
		return err
	}
	return serve(ctx, config)
}

// InCluster as Options.Kubeconfig names the Kubernetes that the hub is a pod of.
const InCluster = "in-cluster"

// existing returns how the Kubernetes is reached that the hub is to run on.
func (o Options) existing() (*rest.Config, error) {
	if o.Kubeconfig == InCluster {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("reading the service account of the hub's pod: %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the hub's kubeconfig %s: %w", o.Kubeconfig, err)
	}
	return config, nil
}

// hub is one run of a hub. Each of its parts finds here what those before it left.
type hub struct {
	Options
	state  State
	config *rest.Config
	// collector collects garbage in the hub's own API; it is empty on an API of somebody else's.
	collector []process.Process

	audit     *audit.Log
	api       client.Client // past every cache
	registry  registry
	store     *content.Store
	imageBase string // what the names of images begin with, as members pull them
	image     string // of the agent
	authority *trust.Authority
	manager   ctrl.Manager
	replicas  *replicas.Replicas // nil on a hub that is one process
	before    time.Time          // when a hub was alive here last
	desired   *delivery.Desired
	hooks     http.Handler // hears of pushes
	gateway   *gateway.Gateway
	metrics   *measured      // nil when they cannot be opened
	spread    *spread.Spread // what agents sent, on its way to the other replicas; nil on a hub that is one process
	onward    *onward.Onward // where else they are kept; nil where there are none
}

// serve runs what a hub is made of on an API that answers. This is the list, in its order.
func (h *hub) serve(ctx context.Context) error {
	defer h.close()
	for _, part := range []func(context.Context) error{
		h.openAudit,    // who did what: from here on, every change to the API is written down
		h.addKinds,     // the vocabulary: our kinds are in the API
		h.checkWhole,   // no restore of it was begun and has not ended
		h.openContent,  // where content is kept by digest: rendered objects, and the agent itself
		h.loadIdentity, // who is who: the authority that members and the gateway are known by
		h.newManager,   // what follows starts together, once the list is through
		h.addReplicas,  // which other processes are this hub too?
		h.addPulse,     // that this hub is alive, and when one was before
		h.addTrust,     // the authority is kept up to date, and goes through its rotations
		h.addPlacement, // which clusters?
		h.addDecisions, // how do tools for many clusters see which?
		h.addDelivery,  // from a source to a Release, and what each member is to hold
		h.openMetrics,  // what does the fleet measure?
		h.addRollouts,  // in which order do clusters get a Release, how fast, and when does that stop?
		h.addProfiles,  // how do tools for many clusters see a member?
		h.addScopes,    // who may do what on which clusters?
		h.addUpgrade,   // which agents may become another program now?
		h.addLifecycle, // how do clusters come to be?
		h.addRules,     // what does it alert about, and who is told?
		h.addGateway,   // which agents are connected, what must they know, what do they say?
		h.addSpread,    // what has each replica of what agents send to one?
		h.addConsole,   // what do people see of it in a browser?
		h.announce,     // how members reach this hub
	} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return h.manager.Start(ctx)
}
