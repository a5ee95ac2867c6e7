package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/renameio/v2"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
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

// Scheme knows the kinds that a hub and its clients work with: ours and Kubernetes' own.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return scheme, v1alpha1.AddToScheme(scheme)
}

// openContent opens the registry, and brings the agent's image into it.
func (h *hub) openContent(ctx context.Context) (err error) {
	h.registry, err = content.NewRegistry(content.RegistryConfig{Dir: filepath.Join(Dir(h.Home), "registry"), Log: h.Log})
	if err != nil {
		return err
	}
	if h.store, err = content.NewStore("http://hub", content.InProcess(h.registry)); err != nil {
		return err
	}
	h.image, err = h.pushAgent(ctx)
	return err
}

// close lets go of what the parts opened. Everything that was pushed is on the disk already.
func (h *hub) close() {
	if h.registry != nil {
		if err := h.registry.Close(); err != nil {
			h.Log.Error("closing the registry", "error", err)
		}
	}
}

// pushAgent brings the agent's image into the registry and returns its name as members pull it. The tag changes with
// the program, so that a node never runs an older one that it has.
func (h *hub) pushAgent(ctx context.Context) (string, error) {
	const repository = "umbel/agent"
	binary := filepath.Join(h.Programs, "umbel-agent")
	file, err := os.Open(binary)
	if err != nil {
		return "", fmt.Errorf("looking for the agent: %w: run `make build`", err)
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", fmt.Errorf("reading the agent: %w", err)
	}
	tag := strings.ReplaceAll(version.Version, "+", "-") + "-" + hex.EncodeToString(sum.Sum(nil)[:6])
	if err := h.store.PushImage(ctx, repository, tag, binary); err != nil {
		return "", fmt.Errorf("storing the agent's image: %w", err)
	}
	return h.state.Address + "/" + repository + ":" + tag, nil
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
	if h.authority, err = gateway.LoadAuthority(ctx, h.api, hosts); err != nil {
		return err
	}
	if err := renameio.WriteFile(h.state.CAFile, h.authority.CA.CertPEM(), 0o644); err != nil {
		return fmt.Errorf("writing the gateway's certificate authority: %w", err)
	}
	return nil
}

func (h *hub) newManager(context.Context) (err error) {
	h.manager, err = ctrl.NewManager(h.config, ctrl.Options{
		Scheme: h.api.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"}, Logger: logr.FromSlogHandler(h.Log.Handler()),
		// For every controller: the priority queue of controller-runtime 0.24.1 can deadlock when it shuts down, which
		// then takes 30 s.
		Controller: ctrlconfig.Controller{UsePriorityQueue: new(false)},
	})
	return err
}

func (h *hub) addPulse(ctx context.Context) (err error) {
	beat := &pulse{client: h.api, log: h.Log, now: time.Now}
	if h.before, err = beat.last(ctx); err != nil {
		return fmt.Errorf("reading when a hub was alive here last: %w", err)
	}
	return h.manager.Add(beat)
}

func (h *hub) addPlacement(context.Context) error { return placement.Setup(h.manager) }

func (h *hub) addDelivery(ctx context.Context) (err error) {
	h.desired, err = delivery.Setup(ctx, h.manager, delivery.Needs{
		Dir: filepath.Join(Dir(h.Home), "git"), LocalSources: h.LocalSources, Content: h.store, Log: h.Log, Now: time.Now,
	})
	return err
}

func (h *hub) addGateway(ctx context.Context) error {
	config := gateway.Config{
		Authority: h.authority, Desired: h.desired, Registry: h.registry,
		CertificateTTL: h.CertificateLife, Before: h.before, Version: version.Version, Log: h.Log,
	}
	for _, address := range h.Listen {
		config.Listen = append(config.Listen, netip.AddrPortFrom(address, uint16(h.state.GatewayPort)).String())
	}
	_, err := gateway.Setup(ctx, h.manager, config)
	return err
}

func (h *hub) announce(ctx context.Context) error {
	return h.authority.PublishInfo(ctx, h.state.Address, h.image)
}
