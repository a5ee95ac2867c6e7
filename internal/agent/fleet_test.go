package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
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
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/session"
)

// fleet is a hub with one member, which is the API server that the hub is on. It wants the member to hold one ConfigMap.
type fleet struct {
	t         *testing.T
	api       *rest.Config
	client    client.Client
	authority *trust.Authority
	address   string
	wanted    *corev1.ConfigMap
	tells     atomic.Pointer[told]
	journal   journal
	said      session.Fleet      // by the hub
	boot      v1alpha1.Bootstrap // of the agent
	name      v1alpha1.ClusterName
	dir       string // of the agent
	kill      func() // ends the agent, if it runs
	measured  measured
	measures  time.Duration // how often the agent does
}

// told is what the hub has members hold.
type told struct {
	blob    []byte
	sealing func(*wire.Assignment) // what else the hub says of it, when it is not nil
}

const cluster = v1alpha1.ClusterName("prod-eu")

// For implements gateway.Desired.
func (f *fleet) For(name v1alpha1.ClusterName) (session.DesiredSet, bool) {
	var member v1alpha1.MemberCluster
	if err := f.client.Get(context.Background(), client.ObjectKey{Name: string(name)}, &member); err != nil || !member.DeletionTimestamp.IsZero() {
		return session.DesiredSet{}, true
	}
	tells := f.tells.Load()
	a := &wire.Assignment{Package: "shop/web", Release: "web-1", Repository: "shop/web", Digest: content.Digest(tells.blob), Size: int64(len(tells.blob))}
	if tells.sealing != nil {
		tells.sealing(a)
	}
	return session.DesiredSet{Assign: map[v1alpha1.PackageKey]*wire.Assignment{"shop/web": a}}, true
}

// Subscribe implements gateway.Desired.
func (f *fleet) Subscribe(v1alpha1.ClusterName) (<-chan struct{}, func()) {
	return make(chan struct{}), func() {}
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	f := &fleet{t: t, api: emptyMember(t), name: cluster, said: session.Fleet{Name: "umbel-test"}, dir: t.TempDir(), kill: func() {}}
	kubetest.InstallCRDs(t, f.api)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		f.must(add(scheme))
	}
	var err error
	f.client, err = client.New(f.api, client.Options{Scheme: scheme})
	f.must(err)
	f.must(client.IgnoreAlreadyExists(f.client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}})))
	f.wanted = &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, Data: map[string]string{"a": "b"},
		ObjectMeta: metav1.ObjectMeta{Namespace: kubetest.Namespace(t, f.api), Name: "wanted"},
	}
	raw, err := json.Marshal(f.wanted)
	f.must(err)
	blob, err := bundle.Encode([]bundle.Entry{{File: "wanted.yaml", Object: raw}})
	f.must(err)
	f.tells.Store(&told{blob: blob})
	f.authority, err = trust.Load(t.Context(), trust.Config{Client: f.client})
	f.must(err)
	f.serve(scheme)
	t.Cleanup(func() { f.kill() })
	return f
}

// serve runs the hub until the test ends.
func (f *fleet) serve(scheme *runtime.Scheme) {
	f.t.Helper()
	mgr, err := ctrl.NewManager(f.api, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{UsePriorityQueue: new(false)}, // as in hub
	})
	f.must(err)
	g, err := gateway.Setup(f.t.Context(), mgr, gateway.Config{
		Listen: []string{"127.0.0.1:0"}, Authority: f.authority, Desired: f, Fleet: f.said, Log: f.log(),
		Metrics:  &f.measured,
		Registry: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(f.tells.Load().blob) }),
	})
	f.must(err)
	_, err = trust.Setup(mgr, f.authority, func() error { return nil }, f.log())
	f.must(err)
	f.address = g.Addrs()[0].String()
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	f.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("the hub ended: %v", err)
		}
		f.clean()
	})
}

// clean takes away what a test left in the API, which the next one uses too.
func (f *fleet) clean() {
	ctx := context.WithoutCancel(f.t.Context())
	f.must(f.client.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(v1alpha1.SystemNamespace)))
	f.must(f.client.DeleteAllOf(ctx, &v1alpha1.MemberCluster{}))
	var left v1alpha1.MemberClusterList
	f.must(f.client.List(ctx, &left))
	for _, m := range left.Items {
		patch := client.MergeFrom(m.DeepCopy())
		m.Finalizers = nil
		f.must(client.IgnoreNotFound(f.client.Patch(ctx, &m, patch)))
	}
	f.finishNamespace(ctx)
}

// finishNamespace does what the namespace controller does for a Namespace that is being deleted.
func (f *fleet) finishNamespace(ctx context.Context) {
	clients, err := kubernetes.NewForConfig(f.api)
	f.must(err)
	namespace, err := clients.CoreV1().Namespaces().Get(ctx, v1alpha1.AgentNamespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && namespace.DeletionTimestamp.IsZero() {
		return
	}
	f.must(err)
	for _, o := range []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}} {
		f.must(f.client.DeleteAllOf(ctx, o, client.InNamespace(v1alpha1.AgentNamespace)))
	}
	namespace.Spec.Finalizers = nil
	_, err = clients.CoreV1().Namespaces().Finalize(ctx, namespace, metav1.UpdateOptions{})
	f.must(client.IgnoreNotFound(err))
}

func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(io.MultiWriter(f.t.Output(), &f.journal), nil))
}

// journal keeps what is logged.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) says(words string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Contains(j.text.String(), words)
}

func (f *fleet) eventually(what string, check func() error) {
	f.t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(f.t.Context(), 20*time.Millisecond, 2*time.Minute, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		f.t.Fatalf("did not happen: %s: %v", what, last)
	}
}

// join makes the cluster a member, as `umbel join --agent process` does.
func (f *fleet) join() {
	f.t.Helper()
	f.must(f.client.Create(f.t.Context(), &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: string(f.name)}}))
	f.invite()
}

// invite makes a token for the MemberCluster, and gives it to the agent.
func (f *fleet) invite() {
	f.t.Helper()
	token, err := identity.NewToken()
	f.must(err)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret(f.name)},
		Type:       v1alpha1.JoinTokenType,
		StringData: map[string]string{
			v1alpha1.JoinTokenHash:    identity.HashToken(token),
			v1alpha1.JoinTokenExpires: time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		},
	}
	f.must(f.client.Create(f.t.Context(), secret))
	f.bootstrap(v1alpha1.Bootstrap{Cluster: f.name, Address: f.address, CA: string(f.authority.Bundle()), Token: token})
}

// bootstrap installs a bootstrap on the member and gives it to the agent.
func (f *fleet) bootstrap(boot v1alpha1.Bootstrap) {
	f.t.Helper()
	f.boot = boot
	raw, err := json.Marshal(boot)
	f.must(err)
	f.must(client.IgnoreAlreadyExists(f.client.Create(f.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AgentNamespace}})))
	installed := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.AgentNamespace, Name: bootstrapSecret},
		Data:       map[string][]byte{"bootstrap.json": raw},
	}
	f.must(client.IgnoreNotFound(f.client.Delete(f.t.Context(), installed.DeepCopy())))
	f.must(f.client.Create(f.t.Context(), installed))
	f.hand(raw)
}

// hand gives the agent a bootstrap, whole: it may be looking for one.
func (f *fleet) hand(raw []byte) {
	f.t.Helper()
	path := filepath.Join(f.dir, "bootstrap.json")
	whole := filepath.Join(f.t.TempDir(), "bootstrap.json")
	f.must(os.WriteFile(whole, raw, 0o600))
	f.must(os.Rename(whole, path))
}

// start starts the agent.
func (f *fleet) start() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	done := make(chan error, 1)
	o := Options{Dir: f.dir, Bootstrap: filepath.Join(f.dir, "bootstrap.json"), Config: f.api, Log: f.log(), measureEvery: f.measures}
	go func() { done <- Run(ctx, o) }()
	f.kill = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("the agent ended with %v", err)
		}
	})
}

// ready waits until the hub says that the member is as it should be.
func (f *fleet) ready() {
	f.t.Helper()
	f.eventually("the member is Ready", func() error {
		var member v1alpha1.MemberCluster
		f.must(f.client.Get(f.t.Context(), client.ObjectKey{Name: string(f.name)}, &member))
		if !meta.IsStatusConditionTrue(member.Status.Conditions, v1alpha1.ConditionReady) || len(member.Status.Packages) != 1 {
			return fmt.Errorf("it is %+v", member.Status)
		}
		return nil
	})
}

func (f *fleet) change(change func(*v1alpha1.MemberCluster)) {
	f.t.Helper()
	var member v1alpha1.MemberCluster
	f.must(f.client.Get(f.t.Context(), client.ObjectKey{Name: string(f.name)}, &member))
	patch := client.MergeFrom(member.DeepCopy())
	change(&member)
	f.must(f.client.Patch(f.t.Context(), &member, patch))
}

func (f *fleet) leave() {
	f.t.Helper()
	f.must(f.client.Delete(f.t.Context(), &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: string(f.name)}}))
}

func (f *fleet) left() {
	f.t.Helper()
	f.eventually("the MemberCluster is gone", func() error {
		err := f.client.Get(f.t.Context(), client.ObjectKey{Name: string(f.name)}, &v1alpha1.MemberCluster{})
		return absent(err)
	})
}

// uninstalled waits until the agent's Namespace is being deleted and its folder is empty, and finishes the Namespace.
func (f *fleet) uninstalled() {
	f.t.Helper()
	f.eventually("the agent's Namespace is deleted", func() error {
		var namespace corev1.Namespace
		err := f.client.Get(f.t.Context(), client.ObjectKey{Name: v1alpha1.AgentNamespace}, &namespace)
		if err == nil && !namespace.DeletionTimestamp.IsZero() {
			return nil
		}
		return absent(err)
	})
	f.eventually("the agent's folder is empty", func() error {
		if diff := cmp.Diff([]string{"bootstrap.json"}, f.files()); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	f.finishNamespace(f.t.Context())
}

func absent(err error) error {
	if err == nil {
		return errors.New("it is there")
	}
	return client.IgnoreNotFound(err)
}

// files are what is in the agent's folder.
func (f *fleet) files() (names []string) {
	f.t.Helper()
	entries, err := os.ReadDir(f.dir)
	f.must(err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// object says whether the member has what the hub wants it to hold.
func (f *fleet) object() error {
	return f.client.Get(f.t.Context(), client.ObjectKeyFromObject(f.wanted), &corev1.ConfigMap{})
}

const held = "example.com/held"

// letsGo has the member leave, as far as that the agent has let go: the MemberCluster stays until somebody else, too, has
// let go of it.
func (f *fleet) letsGo() {
	f.t.Helper()
	f.change(func(m *v1alpha1.MemberCluster) { m.Finalizers = append(m.Finalizers, held) })
	f.leave()
	f.eventually("the agent has let go", func() error {
		_, err := os.Stat(filepath.Join(f.dir, farewellName))
		return err
	})
	f.eventually("the hub has let go", func() error {
		var member v1alpha1.MemberCluster
		f.must(f.client.Get(f.t.Context(), client.ObjectKey{Name: string(f.name)}, &member))
		if len(member.Finalizers) != 1 {
			return fmt.Errorf("finalizers: %v", member.Finalizers)
		}
		return nil
	})
}

func (f *fleet) memberAPI() *memberAPI {
	f.t.Helper()
	api, err := newMemberAPI(f.api)
	f.must(err)
	return api
}
