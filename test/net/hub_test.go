//go:build e2e

package net

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/gateway"
	"umbel.dev/umbel/internal/gateway/trust"
	"umbel.dev/umbel/internal/session"
)

// What a hub process is told by its environment.
const (
	kubeconfigEnv = "UMBEL_NET_KUBECONFIG"
	probeEnv      = "UMBEL_NET_PROBE"
	listenEnv     = "UMBEL_NET_LISTEN"
)

// hub is the gateway of a hub, and what its members are to hold by the test's word.
type hub struct {
	gateway   *gateway.Gateway
	authority *trust.Authority
	cancel    context.CancelFunc
	ended     chan error

	mu    sync.Mutex
	sets  map[v1alpha1.ClusterName]session.DesiredSet
	blobs map[string][]byte // by digest
	subs  map[chan struct{}]bool
}

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}

func newHub() (actor, error) {
	ctx, cancel := context.WithCancel(context.Background())
	h := &hub{
		cancel: cancel, ended: make(chan error, 1),
		sets: map[v1alpha1.ClusterName]session.DesiredSet{}, blobs: map[string][]byte{}, subs: map[chan struct{}]bool{},
	}
	if err := h.start(ctx); err != nil {
		cancel()
		return nil, err
	}
	return h, nil
}

func (h *hub) start(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv(kubeconfigEnv))
	if err != nil {
		return err
	}
	c, err := client.New(config, client.Options{Scheme: scheme()})
	if err != nil {
		return err
	}
	hosts := []string{hubName}
	for n := range maxLines {
		hosts = append(hosts, nearEnd(n+1))
	}
	authority, err := trust.Load(ctx, trust.Config{Client: c, Hosts: hosts})
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme(), Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{UsePriorityQueue: new(false)}, // as in hub
	})
	if err != nil {
		return err
	}
	probe, err := time.ParseDuration(os.Getenv(probeEnv))
	if err != nil {
		return err
	}
	h.gateway, err = gateway.Setup(ctx, mgr, gateway.Config{
		Listen: []string{os.Getenv(listenEnv)}, Authority: authority, Desired: h, Registry: http.HandlerFunc(h.serveBlob),
		ProbeInterval: probe, Version: "v1", Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if _, err := trust.Setup(mgr, authority, func() error { return nil }, log); err != nil {
		return err
	}
	h.authority = authority
	go func() { h.ended <- mgr.Start(ctx) }()
	return nil
}

func (h *hub) stop() error {
	h.cancel()
	return <-h.ended
}

func (h *hub) act(o order) (answer, error) {
	switch o.Do {
	case "address":
		return answer{Address: h.gateway.Addrs()[0].String(), CA: string(h.authority.Bundle())}, nil
	case "hold":
		return answer{}, h.hold(v1alpha1.ClusterName(o.Cluster), o.Value, o.Noise)
	}
	return answer{}, fmt.Errorf("a hub cannot %q", o.Do)
}

// hold has a cluster hold the ConfigMap default/wanted with a value, and beside it noise that cannot be compressed.
func (h *hub) hold(cluster v1alpha1.ClusterName, value string, noise int) error {
	random := rand.NewChaCha8([32]byte{1})
	var entries []bundle.Entry
	add := func(name string, data map[string]string) error {
		raw, err := json.Marshal(&corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: data,
		})
		entries = append(entries, bundle.Entry{File: name + ".yaml", Object: raw})
		return err
	}
	if err := add("wanted", map[string]string{"value": value}); err != nil {
		return err
	}
	for i := 0; noise > 0; i++ {
		part := make([]byte, min(noise, 256<<10))
		random.Read(part)
		noise -= len(part)
		if err := add(fmt.Sprintf("noise-%d", i), map[string]string{"noise": base64.StdEncoding.EncodeToString(part)}); err != nil {
			return err
		}
	}
	blob, err := bundle.Encode(entries)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	digest := content.Digest(blob)
	h.blobs[digest] = blob
	h.sets[cluster] = session.DesiredSet{Assign: map[v1alpha1.PackageKey]*wire.Assignment{"shop/web": {
		Package: "shop/web", Release: "web-" + value, Repository: "shop/web", Digest: digest, Size: int64(len(blob)),
	}}}
	for changed := range h.subs {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	return nil
}

func (h *hub) serveBlob(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	blob := h.blobs[path.Base(r.URL.Path)]
	h.mu.Unlock()
	w.Write(blob)
}

// For implements gateway.Desired.
func (h *hub) For(cluster v1alpha1.ClusterName) (session.DesiredSet, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sets[cluster], true
}

// Subscribe implements gateway.Desired.
func (h *hub) Subscribe(v1alpha1.ClusterName) (<-chan struct{}, func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed := make(chan struct{}, 1)
	h.subs[changed] = true
	return changed, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.subs, changed)
	}
}
