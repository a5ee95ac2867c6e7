package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/renameio/v2"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	inventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/console"
	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/delivery/decide"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/gateway"
	"umbel.dev/umbel/internal/gateway/replicas"
	"umbel.dev/umbel/internal/gateway/trust"
	"umbel.dev/umbel/internal/hub/known"
	"umbel.dev/umbel/internal/identity/signin"
	"umbel.dev/umbel/internal/lifecycle/capi"
	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/internal/placement"
	"umbel.dev/umbel/internal/placement/publish"
	"umbel.dev/umbel/internal/profile"
	"umbel.dev/umbel/internal/rollout"
	"umbel.dev/umbel/internal/scope"
	"umbel.dev/umbel/internal/upgrade"
	"umbel.dev/umbel/internal/version"
)

// What the hub needs beside what its parts say of themselves: its kinds, its namespace, how it is reached, its replicas, and
// who its people are.
//
// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,verbs=get;create;patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;create;patch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;create;update
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups="",namespace=umbel-system,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

func (h *hub) addKinds(ctx context.Context) error {
	h.config.QPS = -1 // the API server's priority and fairness decides
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	if h.api, err = client.New(h.config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("reaching the hub's API at %s: %w", h.config.Host, err)
	}
	return install(ctx, h.api)
}

// Scheme knows the kinds that a hub and its clients work with.
func Scheme() (*runtime.Scheme, error) { return known.Scheme() }

// registry is where content is kept. It serves reads below /v2/.
type registry interface {
	http.Handler
	io.Closer
}

// openContent opens the registry, and brings the agent's image into it.
func (h *hub) openContent(ctx context.Context) (err error) {
	if h.RegistryURL == "" {
		err = h.openOwnRegistry()
	} else {
		err = h.openRemoteRegistry()
	}
	if err != nil {
		return err
	}
	h.image, err = h.pushAgent(ctx)
	return err
}

func (h *hub) openOwnRegistry() error {
	if h.Replica.Name != "" {
		return errors.New("several replicas of a hub need a registry that all of them reach: --registry https://HOST/PATH names it")
	}
	own, err := content.NewRegistry(content.RegistryConfig{Dir: filepath.Join(Dir(h.Home), "registry"), Log: h.Log})
	if err != nil {
		return err
	}
	h.registry, h.imageBase = own, h.state.Address+"/"
	h.store, err = content.NewStore("http://hub", content.InProcess(own))
	return err
}

func (h *hub) openRemoteRegistry() error {
	remote, err := content.OpenRemote(h.RegistryURL, h.Log)
	if err != nil {
		return err
	}
	h.registry, h.store, h.imageBase = remote, remote.Store(), remote.Store().Name("")
	return nil
}

// close lets go of what the parts opened. Everything that was pushed is on the disk already.
func (h *hub) close() {
	if h.registry != nil {
		if err := h.registry.Close(); err != nil {
			h.Log.Error("closing the registry", "error", err)
		}
	}
	if h.metrics != nil {
		if err := h.metrics.Close(); err != nil {
			h.Log.Error("closing the fleet's metrics", "error", err)
		}
	}
	if h.audit != nil {
		if err := h.audit.Close(); err != nil {
			h.Log.Error("closing the audit log", "error", err)
		}
	}
}

// pushAgent brings the agent's image into the registry and returns its name as members pull it. The tag changes with
// the program, so that a node never runs an older one that it has.
func (h *hub) pushAgent(ctx context.Context) (string, error) {
	const repository = "umbel/agent"
	binary := filepath.Join(h.Programs, "umbel-agent")
	tag, err := version.Build(binary)
	if err != nil {
		return "", fmt.Errorf("looking for the agent: %w: run `make build`", err)
	}
	if err := h.store.PushImage(ctx, repository, tag, binary); err != nil {
		return "", fmt.Errorf("storing the agent's image: %w", err)
	}
	return h.imageBase + repository + ":" + tag, nil
}

// loadIdentity loads the authority, or makes it, and writes its certificate where people and local clusters find it.
func (h *hub) loadIdentity(ctx context.Context) error {
	// The names that the gateway's certificate is valid for: the address that members dial, and all others.
	dialled, _, err := net.SplitHostPort(h.state.Address)
	if err != nil {
		return fmt.Errorf("reading the address that members dial: %w", err)
	}
	hosts := []string{dialled}
	for _, address := range h.Listen {
		hosts = append(hosts, address.String())
	}
	if h.authority, err = trust.Load(ctx, trust.Config{Client: h.api, Hosts: hosts}); err != nil {
		return err
	}
	return h.writeCAs()
}

// writeCAs writes the CAs by which people know the gateway to their file, and to the nodes of local clusters, which pull
// the agent from it.
func (h *hub) writeCAs() error {
	if err := renameio.WriteFile(h.state.CAFile, h.authority.CAs(), 0o644); err != nil {
		return fmt.Errorf("writing the gateway's certificate authorities: %w", err)
	}
	return local.TrustRegistry(h.Home, local.Registry{Host: h.state.Address, CAFile: h.state.CAFile})
}

func (h *hub) addTrust(context.Context) error {
	_, err := trust.Setup(h.manager, h.authority, h.writeCAs, h.Log)
	return err
}

// Of several replicas one leads. When it is gone another one does within leaseLife and leaseRetry; one that cannot renew
// its lease ends before that.
const leaseLife, leaseRenew, leaseRetry = 6 * time.Second, 4 * time.Second, time.Second

func (h *hub) newManager(context.Context) (err error) {
	leases, err := labels.NewRequirement(v1alpha1.ReplicaLabel, selection.Exists, nil)
	if err != nil {
		return err
	}
	cached, err := scope.Cached()
	if err != nil {
		return err
	}
	// A cluster has a Lease for each node and more.
	cached[&coordinationv1.Lease{}] = cache.ByObject{
		Namespaces: map[string]cache.Config{v1alpha1.SystemNamespace: {LabelSelector: labels.NewSelector().Add(*leases)}},
	}
	// Who set which field takes as much memory as the fields; only the controller of members asks.
	cached[&v1alpha1.MemberCluster{}] = cache.ByObject{Transform: func(member any) (any, error) { return member, nil }}
	h.manager, err = ctrl.NewManager(h.config, ctrl.Options{
		LeaderElection: h.Replica.Name != "", LeaderElectionID: "umbel-hub-leader", LeaderElectionNamespace: v1alpha1.SystemNamespace,
		LeaderElectionReleaseOnCancel: true, // the process ends when the manager does
		LeaseDuration:                 new(leaseLife), RenewDeadline: new(leaseRenew), RetryPeriod: new(leaseRetry),
		Cache:  cache.Options{ByObject: cached, DefaultTransform: cache.TransformStripManagedFields()},
		Scheme: h.api.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"}, Logger: logr.FromSlogHandler(h.Log.Handler()),
		// For every controller: the priority queue of controller-runtime 0.24.1 can deadlock when it shuts down, which
		// then takes 30 s.
		Controller: ctrlconfig.Controller{UsePriorityQueue: new(false)},
	})
	return err
}

func (h *hub) addReplicas(context.Context) (err error) {
	if h.Replica.Name == "" {
		return nil
	}
	h.replicas, err = replicas.New(replicas.Config{
		Name: h.Replica.Name, Address: WithPort(h.Replica.Address, h.state.GatewayPort), Client: h.api, Cache: h.manager.GetCache(), Elected: h.manager.Elected(),
		Now: time.Now, Log: h.Log,
	})
	if err != nil {
		return err
	}
	return h.manager.Add(h.replicas)
}

func (h *hub) addPulse(ctx context.Context) (err error) {
	beat := &pulse{client: h.api, log: h.Log, now: time.Now}
	if h.before, err = beat.last(ctx); err != nil {
		return fmt.Errorf("reading when a hub was alive here last: %w", err)
	}
	return h.manager.Add(beat)
}

func (h *hub) addPlacement(context.Context) error { return placement.Setup(h.manager, time.Now) }

// addDecisions goes without where somebody else owns the kind in a version that this hub does not know.
func (h *hub) addDecisions(ctx context.Context) error {
	if err := installShared(ctx, h.api, deploy.Multicluster, deploy.PlacementDecisionCRD, &inventory.PlacementDecisionList{}); err != nil {
		h.Log.Error("what Placements select is not shown as PlacementDecisions (multicluster.x-k8s.io)", "error", err)
		return ctx.Err()
	}
	return publish.Setup(h.manager)
}

func (h *hub) addScopes(context.Context) error { return scope.Setup(h.manager) }

func (h *hub) addDelivery(ctx context.Context) (err error) {
	renders, err := render.NewCache(render.CacheConfig{
		Dir: filepath.Join(Dir(h.Home), "rendered"), Workers: h.workers(ctx), Made: newRelief(ctx, debug.FreeOSMemory).made, Log: h.Log,
	})
	if err != nil {
		return err
	}
	needs := delivery.Needs{
		Dir: Dir(h.Home), LocalSources: h.LocalSources, Content: h.store, Sealer: h.authority, Log: h.Log, Now: time.Now, Renders: renders,
	}
	if h.replicas != nil {
		needs.Elected = h.manager.Elected()
	}
	if h.desired, err = delivery.Setup(ctx, h.manager, needs); err != nil {
		return err
	}
	h.hooks = delivery.Hooks(h.manager, needs)
	return nil
}

func (h *hub) addRollouts(ctx context.Context) error {
	needs := rollout.Needs{Digest: decide.DigestFor, Waits: h.desired.Waits, Now: time.Now}
	if h.metrics != nil {
		needs.Ask = h.metrics.Holds
	}
	return rollout.Setup(ctx, h.manager, needs)
}

// addProfiles goes without where somebody else owns the kind in a version that this hub does not know.
func (h *hub) addProfiles(ctx context.Context) error {
	if err := installShared(ctx, h.api, deploy.Multicluster, deploy.ClusterProfileCRD, &inventory.ClusterProfileList{}); err != nil {
		h.Log.Error("members are not shown as ClusterProfiles (multicluster.x-k8s.io)", "error", err)
		return ctx.Err()
	}
	return profile.Setup(h.manager)
}

func (h *hub) addUpgrade(context.Context) error {
	return upgrade.Setup(h.manager, version.Version, time.Now)
}

// addLifecycle runs nothing until somebody adds a Provider.
func (h *hub) addLifecycle(context.Context) error {
	own, err := h.ownProviders()
	if err != nil {
		return err
	}
	return capi.Setup(h.manager, capi.Needs{
		Dir: ProvidersDir(h.Home), Programs: h.Programs, Config: h.config, Beside: h.collector, Own: own, Log: h.Log,
	})
}

func (h *hub) addGateway(ctx context.Context) error {
	fleet, err := fleetOf(ctx, h.api)
	if err != nil {
		return err
	}
	config := gateway.Config{
		Authority: h.authority, Desired: h.desired, Registry: h.registry, Hooks: h.hooks, Replicas: h.replicas,
		CertificateTTL: h.CertificateLife, Before: h.before, Version: version.Version, Fleet: fleet, Audit: h.audit, Log: h.Log,
	}
	if h.metrics != nil {
		config.Metrics = h.metrics
	}
	if h.Kubeconfig == "" {
		config.APIAudit = audit.APILog(APIAuditLog(h.Home))
	}
	for _, address := range h.Listen {
		config.Listen = append(config.Listen, netip.AddrPortFrom(address, uint16(h.state.GatewayPort)).String())
	}
	if h.state.Authentication != "" {
		if config.SignIn, err = signin.New(ctx, h.state.Authentication, h.Log); err != nil {
			return err
		}
	}
	h.gateway, err = gateway.Setup(ctx, h.manager, config)
	return err
}

// addConsole has the gateway serve the console, which knows people by the gateway's word.
func (h *hub) addConsole(ctx context.Context) error {
	pages, err := console.Setup(ctx, h.manager, console.Config{Door: h.gateway, Version: version.Version, Audit: h.audit, Log: h.Log})
	if err != nil {
		return err
	}
	h.gateway.Console = pages
	return nil
}

func (h *hub) announce(ctx context.Context) error {
	return h.authority.PublishInfo(ctx, h.state.Address, h.image)
}
