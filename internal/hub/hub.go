package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/renameio/v2"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/gateway"
	"umbel.dev/umbel/internal/placement"
	"umbel.dev/umbel/internal/version"
)

// Options are what Run needs.
type Options struct {
	// Home is the data folder.
	Home string
	// Kubeconfig names an existing Kubernetes to run on. Empty: the hub brings its own.
	Kubeconfig string
	// Listen are the addresses of the gateway, Advertise the one of them that members dial (invalid: as before).
	Listen    []netip.Addr
	Advertise netip.Addr
	// Programs is the folder of umbel-kube and umbel-agent.
	Programs string
	// LocalSources are the folders of this machine's disk in which Packages may have their file:// repositories.
	LocalSources []string
	// CertificateLife is how long an agent's certificate is valid.
	CertificateLife time.Duration
	Log             *slog.Logger
}

// Run runs a hub until ctx ends.
func Run(ctx context.Context, o Options) error {
	lock, err := Lock(o.Home)
	if err != nil {
		return err
	}
	defer lock.Close() //nolint:errcheck // it ends with the process at the latest
	ctrl.SetLogger(logr.FromSlogHandler(o.Log.Handler()))
	klog.SetSlogLogger(o.Log)
	state, err := LoadState(o.Home, o.Advertise)
	if err != nil {
		return err
	}
	if o.Kubeconfig != "" {
		config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
		if err != nil {
			return fmt.Errorf("reading the hub's kubeconfig %s: %w", o.Kubeconfig, err)
		}
		return o.serve(ctx, config, state)
	}
	own, err := newEmbedded(o.Home, filepath.Join(o.Programs, "umbel-kube"), state.Ports, o.Log)
	if err != nil {
		return err
	}
	// The API outlives the controllers, which still have something to write when they end.
	apiCtx, stopAPI := context.WithCancel(context.WithoutCancel(ctx))
	var api errgroup.Group
	api.Go(func() error { return own.supervisor.Run(apiCtx) })
	err = func() error {
		if err := own.ready(ctx); err != nil {
			return err
		}
		config, err := clientcmd.BuildConfigFromFlags("", own.plane.AdminKubeconfig())
		if err != nil {
			return err
		}
		return o.serve(ctx, config, state)
	}()
	stopAPI()
	if stopped := api.Wait(); err == nil && ctx.Err() == nil {
		err = stopped
	}
	return err
}

// serve runs what a hub is made of on an API that answers. This is the list.
func (o Options) serve(ctx context.Context, config *rest.Config, state State) error {
	config.QPS = -1 // the API server's priority and fairness decides
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	direct, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("reaching the hub's API at %s: %w", config.Host, err)
	}
	if err := install(ctx, direct); err != nil {
		return err
	}

	registry, err := content.NewRegistry(content.RegistryConfig{Dir: filepath.Join(Dir(o.Home), "registry"), Log: o.Log})
	if err != nil {
		return err
	}
	defer registry.Close() //nolint:errcheck // everything that was pushed is on disk already
	store, err := content.NewStore("http://hub", content.InProcess(registry))
	if err != nil {
		return err
	}
	image, err := o.pushAgent(ctx, store, state)
	if err != nil {
		return err
	}
	authority, err := gateway.LoadAuthority(ctx, direct, o.hosts(state))
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(state.CAFile, authority.CA.CertPEM(), 0o644); err != nil {
		return err
	}

	beat := &pulse{client: direct, log: o.Log, now: time.Now}
	before, err := beat.last(ctx)
	if err != nil {
		return err
	}

	mgr, err := o.newManager(config, scheme)
	if err != nil {
		return err
	}
	// Which clusters?
	if err := placement.Setup(mgr); err != nil {
		return err
	}
	// From a source to a Release, and what each member is to hold.
	desired, err := delivery.Setup(ctx, mgr, delivery.Needs{
		Dir: filepath.Join(Dir(o.Home), "git"), LocalSources: o.LocalSources, Content: store, Log: o.Log, Now: time.Now,
	})
	if err != nil {
		return err
	}
	// Which agents are connected, what must they know, what do they say?
	_, err = gateway.Setup(ctx, mgr, gateway.Config{
		Listen: o.listen(state), Authority: authority, Desired: desired, Registry: registry,
		CertificateTTL: o.CertificateLife, Before: before, Version: version.Version, Log: o.Log,
	})
	if err != nil {
		return err
	}
	// How members reach the hub, and that it is alive.
	if err := authority.PublishInfo(ctx, state.Address, image); err != nil {
		return err
	}
	if err := mgr.Add(beat); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return scheme, v1alpha1.AddToScheme(scheme)
}

func (o Options) newManager(config *rest.Config, scheme *runtime.Scheme) (ctrl.Manager, error) {
	return ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Logger: logr.FromSlogHandler(o.Log.Handler()),
		// The priority queue of controller-runtime 0.24.1 can deadlock when it shuts down.
		Controller: ctrlconfig.Controller{UsePriorityQueue: new(false)},
	})
}

// pushAgent brings the agent's image into the registry and returns its name as members pull it. The tag changes with
// the program, so that a node never runs an older one that it has.
func (o Options) pushAgent(ctx context.Context, store *content.Store, state State) (string, error) {
	const repository = "umbel/agent"
	binary := filepath.Join(o.Programs, "umbel-agent")
	file, err := os.Open(binary)
	if err != nil {
		return "", fmt.Errorf("looking for the agent: %w: run `make build`", err)
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	tag := strings.ReplaceAll(version.Version, "+", "-") + "-" + hex.EncodeToString(sum.Sum(nil)[:6])
	if err := store.PushImage(ctx, repository, tag, binary); err != nil {
		return "", fmt.Errorf("storing the agent's image: %w", err)
	}
	return state.Address + "/" + repository + ":" + tag, nil
}

// hosts are the names that the gateway's certificate is valid for.
func (o Options) hosts(state State) []string {
	hosts := []string{state.host()}
	for _, a := range o.Listen {
		hosts = append(hosts, a.String())
	}
	return hosts
}

func (o Options) listen(state State) []string {
	var all []string
	for _, a := range o.Listen {
		all = append(all, netip.AddrPortFrom(a, uint16(state.GatewayPort)).String())
	}
	return all
}

// host is the address that members dial, without its port.
func (s State) host() string {
	return strings.TrimSuffix(s.Address, ":"+strconv.Itoa(s.GatewayPort))
}
