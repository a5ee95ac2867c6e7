package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("UMBEL_TEST_ENGINE"); dir != "" {
		os.Exit(runCrashingEngine(dir))
	}
	os.Exit(kubetest.Main(m))
}

// station is a member with a real API server, a namespace of the test's own, and an engine that can be stopped and
// started. Content comes from a map, as it would from the hub's registry.
type station struct {
	t         *testing.T
	namespace string
	client    *kubernetes.Clientset
	dynamic   *dynamic.DynamicClient
	config    *rest.Config
	dir       string
	writes    atomic.Int64 // PATCH, POST, PUT and DELETE requests of the engine, without those that only ask
	offline   atomic.Bool  // the hub is away: nothing can be pulled
	verify    func(*wire.Assignment) error
	vault     Vault
	impatient bool          // what is not healthy is looked at soon
	grace     time.Duration // of what a package gives up, until another one may be told to take it
	secrets   Secrets       // nil where nothing comes encrypted
	auditLog  string        // empty where none is read
	observes  bool          // nothing is to be written
	log       io.Writer
	// meddle, when it is set, sends a request of the engine on, or does something else.
	meddle atomic.Pointer[func(r *http.Request, next http.RoundTripper) (*http.Response, error)]

	mu     sync.Mutex
	blobs  map[string][]byte
	engine *Engine
	stop   func()
}

func newStation(t *testing.T) *station {
	t.Helper()
	config := kubetest.Start(t)
	s := &station{t: t, config: config, dir: t.TempDir(), blobs: map[string][]byte{}, stop: func() {}, log: t.Output(), grace: 200 * time.Millisecond}
	s.client = kubernetes.NewForConfigOrDie(config)
	s.dynamic = dynamic.NewForConfigOrDie(config)
	ns, err := s.client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "apply-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.namespace = ns.Name
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *station) fetch(_ context.Context, _, digest string, _ int64) ([]byte, error) {
	if s.offline.Load() {
		return nil, errors.New("the hub is away")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if raw, ok := s.blobs[digest]; ok {
		return raw, nil
	}
	return nil, fmt.Errorf("no blob %s", digest)
}

// start runs an engine on the station's folder.
func (s *station) start() {
	s.t.Helper()
	s.run(s.open())
}

// run runs an engine until the station is stopped.
func (s *station) run(engine *Engine) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = engine.Run(ctx); close(done) }()
	s.stop = sync.OnceFunc(func() { cancel(); <-done })
}

// open makes an engine on the station's folder, and does not run it.
func (s *station) open() *Engine {
	s.t.Helper()
	config := rest.CopyConfig(s.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodGet && !r.URL.Query().Has("dryRun") {
				s.writes.Add(1)
			}
			if meddle := s.meddle.Load(); meddle != nil {
				return (*meddle)(r, next)
			}
			return next.RoundTrip(r)
		})
	})
	engine, err := New(Needs{
		Dir: s.dir, Config: config, Secrets: s.secrets, Fetch: s.fetch, Verify: s.verify, Vault: s.vault, AuditLog: s.auditLog, Observes: s.observes, Log: slog.New(slog.NewTextHandler(s.log, nil)), Now: time.Now,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	engine.grace = s.grace
	if s.impatient {
		engine.doctor.patience = 50 * time.Millisecond
	}
	s.engine = engine
	return engine
}

// meddling has requests of the engine to objects of a name go through f, until the test stops that.
func (s *station) meddling(method, name string, f func(r *http.Request, next http.RoundTripper) (*http.Response, error)) (stop func()) {
	meddle := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method == method && strings.HasSuffix(r.URL.Path, "/"+name) {
			return f(r, next)
		}
		return next.RoundTrip(r)
	}
	s.meddle.Store(&meddle)
	return func() { s.meddle.Store(nil) }
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// release packs objects and returns the assignment of the package to them.
func (s *station) release(pkg, name string, objects ...string) *wire.Assignment {
	s.t.Helper()
	var entries []bundle.Entry
	for i, o := range objects {
		entries = append(entries, bundle.Entry{File: fmt.Sprintf("%s/%d.yaml", name, i), Object: json.RawMessage(o)})
	}
	return s.releaseOf(pkg, name, entries)
}

// releaseOf packs rendered objects.
func (s *station) releaseOf(pkg, name string, entries []bundle.Entry) *wire.Assignment {
	s.t.Helper()
	raw, err := bundle.Encode(entries)
	if err != nil {
		s.t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	s.mu.Lock()
	s.blobs[digest] = raw
	s.mu.Unlock()
	// Most tests are about something else than whether it may delete.
	return &wire.Assignment{
		Package: pkg, Release: name, Revision: name, Repository: "r", Digest: digest, Size: int64(len(raw)),
		Policy: approving(name, 1<<30, 1<<30), PolicyId: "approves " + name,
	}
}

// approving is a policy that lets a release delete so many objects, so many of them protected ones.
func approving(release string, objects, protected uint32) *wire.Policy {
	return &wire.Policy{DeleteApprovals: []*wire.DeleteApproval{{Release: release, Objects: objects, Protected: protected, Id: "test"}}}
}

// careful is the assignment by an agent's defaults.
func careful(a *wire.Assignment) *wire.Assignment { return under(a, nil, "") }

// under is the assignment with a policy.
func under(a *wire.Assignment, policy *wire.Policy, id string) *wire.Assignment {
	a = proto.CloneOf(a)
	a.Policy, a.PolicyId = policy, id
	return a
}

func (s *station) assign(assignments ...*wire.Assignment) {
	s.t.Helper()
	if err := s.engine.Store(s.t.Context(), &wire.DesiredState{Assign: assignments}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *station) configMap(name string, data map[string]string) string {
	raw, _ := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": name, "namespace": s.namespace}, "data": data,
	})
	return string(raw)
}

// folder is what the agent keeps of a package.
func (s *station) folder(pkg v1alpha1.PackageKey) *disk.Folder {
	return disk.Open(filepath.Join(s.dir, "packages"), pkg)
}

// damage makes garbage of content on the agent's disk.
func (s *station) damage(pkg v1alpha1.PackageKey, a *wire.Assignment) {
	s.t.Helper()
	blob := filepath.Join(s.dir, "packages", pkg.LabelValue(), strings.TrimPrefix(a.GetDigest(), "sha256:")+".zst")
	if err := os.WriteFile(blob, []byte("garbage"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// unassign takes packages away.
func (s *station) unassign(pkgs ...string) {
	s.t.Helper()
	if err := s.engine.Store(s.t.Context(), &wire.DesiredState{Remove: pkgs}); err != nil {
		s.t.Fatal(err)
	}
}

// holdsNothing waits until every package is pruned and forgotten.
func (s *station) holdsNothing() {
	s.t.Helper()
	s.eventually("nothing is held", func() error {
		if held := s.engine.Held(); len(held) > 0 {
			return fmt.Errorf("held: %v", held)
		}
		return nil
	})
}

// createDeployment makes a Deployment as somebody else would, and deployment is the manifest that takes it over.
func (s *station) createDeployment(name string) {
	s.t.Helper()
	labels := map[string]string{"app": name}
	theirs := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "theirs"}}},
			},
		},
	}
	if _, err := s.client.AppsV1().Deployments(s.namespace).Create(s.t.Context(), theirs, metav1.CreateOptions{FieldManager: "helm"}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *station) deployment(name string) string {
	return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":%[1]q,"namespace":%[2]q,"annotations":{"umbel.dev/take-over":"true"}},
		"spec":{"selector":{"matchLabels":{"app":%[1]q}},"template":{"metadata":{"labels":{"app":%[1]q}},"spec":{"containers":[{"name":"web","image":"ours"}]}}}}`,
		name, s.namespace)
}

func (s *station) uid(name string) types.UID {
	s.t.Helper()
	cm, err := s.getConfigMap(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return cm.UID
}

func (s *station) getConfigMap(name string) (*corev1.ConfigMap, error) {
	return s.client.CoreV1().ConfigMaps(s.namespace).Get(context.Background(), name, metav1.GetOptions{})
}

// eventually waits until check returns nil.
func (s *station) eventually(what string, check func() error) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *station) status(pkg string) *wire.PackageStatus {
	for _, st := range s.engine.Held() {
		if st.GetPackage() == pkg {
			return st
		}
	}
	return nil
}

func (s *station) reaches(pkg, release string, phase wire.PackageStatus_Phase) *wire.PackageStatus {
	s.t.Helper()
	var st *wire.PackageStatus
	s.eventually(fmt.Sprintf("package %s reaches %s %s", pkg, release, phase), func() error {
		if st = s.status(pkg); st.GetPhase() != phase || st.GetRelease() != release {
			return fmt.Errorf("it is %v", st)
		}
		return nil
	})
	return st
}

func (s *station) hasData(name string, want map[string]string) {
	s.t.Helper()
	s.eventually("ConfigMap "+name, func() error {
		got, err := s.getConfigMap(name)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, got.Data); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

func (s *station) lacks(name string) {
	s.t.Helper()
	s.eventually("ConfigMap "+name+" is gone", func() error {
		if _, err := s.getConfigMap(name); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
}

// update changes a ConfigMap, as people do. The engine may write it in between.
func (s *station) update(name string, change func(*corev1.ConfigMap)) {
	s.t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		cm, err := s.getConfigMap(name)
		if err != nil {
			return err
		}
		change(cm)
		_, err = s.client.CoreV1().ConfigMaps(s.namespace).Update(s.t.Context(), cm, metav1.UpdateOptions{FieldManager: "kubectl-edit"})
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *station) remove(name string) {
	s.t.Helper()
	if err := s.client.CoreV1().ConfigMaps(s.namespace).Delete(s.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		s.t.Fatal(err)
	}
}
