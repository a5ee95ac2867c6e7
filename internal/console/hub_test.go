package console

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/gateway"
	"umbel.dev/umbel/internal/gateway/trust"
	"umbel.dev/umbel/internal/identity/signin"
	"umbel.dev/umbel/internal/kube/kubetest"
	agents "umbel.dev/umbel/internal/session"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

// nothing is what members are to hold here.
type nothing struct{}

func (nothing) For(v1alpha1.ClusterName) (agents.DesiredSet, bool) {
	return agents.DesiredSet{}, true
}
func (nothing) Subscribe(v1alpha1.ClusterName) (<-chan struct{}, func()) {
	return make(chan struct{}), func() {}
}

var scheme = sync.OnceValue(func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
})

// hub is a gateway with a console on a real API server.
type hub struct {
	*testing.T
	api     *rest.Config
	client  client.Client
	clients kubernetes.Interface
	address string
	console *Console
	listen  string       // where the gateway listens; any free address unless set
	ahead   atomic.Int64 // how far the console's clock is ahead
}

// newHub starts a hub, which ends with the test. people is nil on one that trusts no identity provider.
func newHub(t *testing.T, people *signin.Verifier) *hub {
	t.Helper()
	return newHubAt(t, "127.0.0.1:0", people)
}

// newHubAt is newHub at an address.
func newHubAt(t *testing.T, address string, people *signin.Verifier) *hub {
	t.Helper()
	h := &hub{T: t, api: kubetest.Start(t), listen: address}
	kubetest.InstallCRDs(t, h.api)
	var err error
	if h.client, err = client.New(h.api, client.Options{Scheme: scheme()}); err != nil {
		t.Fatal(err)
	}
	h.clients = kubernetes.NewForConfigOrDie(h.api)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}
	if err := h.client.Create(t.Context(), namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	h.start(people)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, kind := range []client.Object{&v1alpha1.MemberCluster{}, &rbacv1.ClusterRoleBinding{}} {
			var options []client.DeleteAllOfOption
			if _, ok := kind.(*rbacv1.ClusterRoleBinding); ok {
				options = append(options, client.MatchingLabels{"test": "console"})
			}
			if err := h.client.DeleteAllOf(ctx, kind, options...); err != nil {
				t.Error(err)
			}
		}
		if err := h.client.DeleteAllOf(ctx, &v1alpha1.Package{}, client.InNamespace("default")); err != nil {
			t.Error(err)
		}
		// This hub lets go of its clusters: another one may want their names.
		var left v1alpha1.MemberClusterList
		err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			err := h.client.List(ctx, &left)
			return len(left.Items) == 0, err
		})
		if err != nil {
			t.Errorf("%d clusters are not gone: %v", len(left.Items), err)
		}
	})
	return h
}

// start starts another replica on the same API, and has the hub ask that one from now on.
func (h *hub) start(people *signin.Verifier) {
	h.Helper()
	log := slog.New(slog.NewTextHandler(h.Output(), nil))
	authority, err := trust.Load(h.Context(), trust.Config{Client: h.client})
	if err != nil {
		h.Fatal(err)
	}
	mgr, err := ctrl.NewManager(h.api, ctrl.Options{
		Scheme: scheme(), Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{UsePriorityQueue: new(false)}, // as in hub
	})
	if err != nil {
		h.Fatal(err)
	}
	door, err := gateway.Setup(h.Context(), mgr, gateway.Config{
		Listen: []string{h.listen}, Authority: authority, Desired: nothing{}, Registry: http.NotFoundHandler(), Version: "v1", Log: log, SignIn: people,
	})
	if err != nil {
		h.Fatal(err)
	}
	now := func() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }
	if h.console, err = Setup(h.Context(), mgr, Config{Door: door, Version: "v1", Now: now, Log: log}); err != nil {
		h.Fatal(err)
	}
	door.Console = h.console
	h.address = door.Addrs()[0].String()
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.Context()))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	h.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			h.Errorf("the hub ended: %v", err)
		}
	})
	if !mgr.GetCache().WaitForCacheSync(h.Context()) {
		h.Fatal("the cache was not filled")
	}
}

// holds makes a cluster, and waits until the hub holds it, so that what the hub writes of a new one comes between no two steps of a test.
func (h *hub) holds(member *v1alpha1.MemberCluster) {
	h.Helper()
	if err := h.client.Create(h.Context(), member); err != nil {
		h.Fatal(err)
	}
	err := wait.PollUntilContextTimeout(h.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := h.client.Get(ctx, client.ObjectKeyFromObject(member), member)
		return slices.Contains(member.Finalizers, v1alpha1.Finalizer), err
	})
	if err != nil {
		h.Fatalf("the hub does not hold the cluster %s: %v", member.Name, err)
	}
}

// token makes a ServiceAccount with a cluster role, and returns a token of it once the API server has heard of that.
func (h *hub) token(name, role string) string {
	h.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	if err := h.client.Create(h.Context(), account); client.IgnoreAlreadyExists(err) != nil {
		h.Fatal(err)
	}
	if role != "" {
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "console-" + name, Labels: map[string]string{"test": "console"}},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: name}},
		}
		if err := h.client.Create(h.Context(), binding); client.IgnoreAlreadyExists(err) != nil {
			h.Fatal(err)
		}
		h.may("system:serviceaccount:default:"+name, role)
	}
	given, err := h.clients.CoreV1().ServiceAccounts("default").CreateToken(h.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		h.Fatal(err)
	}
	return given.Status.Token
}

// may waits until the API server has heard that a user has a cluster role: the hub believes a no for a while.
func (h *hub) may(user, role string) {
	h.Helper()
	of := &rbacv1.ClusterRole{}
	if err := h.client.Get(h.Context(), client.ObjectKey{Name: role}, of); err != nil {
		h.Fatal(err)
	}
	first := of.Rules[0]
	h.allows(user, &authorizationv1.ResourceAttributes{Group: first.APIGroups[0], Resource: first.Resources[0], Verb: first.Verbs[0], Name: strings.Join(first.ResourceNames, "")})
}

// allows waits until the API server has heard that a user may do something.
func (h *hub) allows(user string, what *authorizationv1.ResourceAttributes) {
	h.Helper()
	err := wait.PollUntilContextTimeout(h.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: what}}
		err := h.client.Create(ctx, review)
		return review.Status.Allowed, err
	})
	if err != nil {
		h.Fatalf("%s may not %+v: %v", user, what, err)
	}
}

// browser is what keeps cookies, and shows a certificate when it has one.
type browser struct {
	*hub
	client  *http.Client
	cookies map[string]*http.Cookie
	headers map[string]string // that are sent with each request
}

func (h *hub) browser(certificates ...tls.Certificate) *browser {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certificates}}
	h.Cleanup(transport.CloseIdleConnections)
	return &browser{hub: h, cookies: map[string]*http.Cookie{}, headers: map[string]string{}, client: &http.Client{
		Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answered is an answer that was read.
type answered struct {
	code   int
	header http.Header
	body   string
}

func (b *browser) ask(method, path, body string, headers ...string) answered {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), method, "https://"+b.address+path, bytes.NewBufferString(body))
	if err != nil {
		b.Fatal(err)
	}
	for name, value := range b.headers {
		r.Header.Set(name, value)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	for _, cookie := range b.cookies {
		r.AddCookie(cookie)
	}
	answer, err := b.client.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		b.Fatal(err)
	}
	for _, cookie := range answer.Cookies() {
		b.cookies[cookie.Name] = cookie
		if cookie.MaxAge < 0 {
			delete(b.cookies, cookie.Name)
		}
	}
	return answered{answer.StatusCode, answer.Header, string(raw)}
}

// signIn signs in with a token, as the page does.
func (b *browser) signIn(token string) answered {
	b.Helper()
	raw, err := json.Marshal(map[string]string{"token": token})
	if err != nil {
		b.Fatal(err)
	}
	return b.ask(http.MethodPost, "/console/api/signin", string(raw), ownHeader, "1", "Origin", "https://"+b.address, "Sec-Fetch-Site", "same-origin")
}

// does does a deed as the page does: whoever changed the status of the object meanwhile, or who holds it, does not matter.
func (b *browser) does(deed Deed, query string) answered {
	b.Helper()
	patch := deed.Patch
	for try := 0; ; try++ {
		got := b.ask(http.MethodPatch, "/console/k8s"+deed.Path+query, patch, "Content-Type", "application/merge-patch+json", ownHeader, "1")
		if got.code != http.StatusConflict || try == 20 {
			return got
		}
		var now metav1.PartialObjectMetadata
		b.reads("/console/k8s"+deed.Path, &now)
		if now.Generation != deed.Generation {
			return got
		}
		of := map[string]any{}
		if err := json.Unmarshal([]byte(deed.Patch), &of); err != nil {
			b.Fatal(err)
		}
		if err := unstructured.SetNestedField(of, now.ResourceVersion, "metadata", "resourceVersion"); err != nil {
			b.Fatal(err)
		}
		raw, err := json.Marshal(of)
		if err != nil {
			b.Fatal(err)
		}
		patch = string(raw)
	}
}

// want fails unless an answer has a code, and says something.
func (b *browser) want(reason string, got answered, code int, says string) {
	b.Helper()
	if got.code != code || !strings.Contains(got.body, says) {
		b.Errorf("%s: got %d %s, want %d and %q", reason, got.code, got.body, code, says)
	}
}
