package real

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// member is an API server with the engine of an agent, and nothing else: no controllers, so that what they would do to
// namespaces the test does.
type member struct {
	t       *testing.T
	about   string // what it is at
	client  *kubernetes.Clientset
	dynamic *dynamic.DynamicClient
	mapper  *restmapper.DeferredDiscoveryRESTMapper
	engine  *apply.Engine
	writes  atomic.Int64
	made    []string // namespaces that the Package at hand needed and did not bring

	mu    sync.Mutex
	blobs map[string][]byte
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func newMember(t *testing.T) *member {
	t.Helper()
	config := kubetest.Start(t)
	config.QPS = -1
	m := &member{t: t, client: kubernetes.NewForConfigOrDie(config), dynamic: dynamic.NewForConfigOrDie(config), blobs: map[string][]byte{}}
	m.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discovery.NewDiscoveryClientForConfigOrDie(config)))
	engines := rest.CopyConfig(config)
	engines.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodGet {
				m.writes.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	var err error
	m.engine, err = apply.New(apply.Needs{Dir: t.TempDir(), Config: engines, Log: slog.New(slog.DiscardHandler), Now: time.Now, Fetch: m.fetch})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() { _ = m.engine.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return m
}

// keep keeps what entries are written down as, and returns that with its digest.
func (m *member) keep(entries []bundle.Entry) (digest string, blob []byte) {
	m.t.Helper()
	blob, err := bundle.Encode(entries)
	m.must(err)
	sum := sha256.Sum256(blob)
	digest = "sha256:" + hex.EncodeToString(sum[:])
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[digest] = blob
	return digest, blob
}

// thin drops every second object that a release may drop without a word, and keeps one at least.
func (m *member) thin(entries []bundle.Entry) (kept []bundle.Entry, dropped map[bundle.ID]bool) {
	m.t.Helper()
	dropped = map[bundle.ID]bool{}
	drop := false
	for _, entry := range entries {
		id, err := bundle.Identify(entry.Object)
		m.must(err)
		if (object{ID: id}).lasting() || id.Kind == "PersistentVolumeClaim" || !drop {
			kept = append(kept, entry)
		} else {
			dropped[id] = true
		}
		drop = !drop
	}
	return kept, dropped
}

// pruned waits until what was dropped is gone. What was kept is what it was, unwritten.
func (m *member) pruned(all []object, dropped map[bundle.ID]bool, before map[bundle.ID]*unstructured.Unstructured) {
	m.t.Helper()
	for _, o := range all {
		if dropped[o.ID] {
			m.eventually(fmt.Sprintf("%s is pruned", o.ID), func() error {
				if _, err := o.at.Get(m.t.Context(), o.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
					return fmt.Errorf("it is there: %v", err)
				}
				return nil
			})
			continue
		}
		live, err := o.at.Get(m.t.Context(), o.Name, metav1.GetOptions{})
		m.must(err)
		if was := before[o.ID]; live.GetUID() != was.GetUID() || live.GetResourceVersion() != was.GetResourceVersion() || !live.GetDeletionTimestamp().IsZero() {
			m.t.Errorf("%s: %s was to stay as it was: %v, was %v", m.about, o.ID, live.Object["metadata"], was.Object["metadata"])
		}
	}
}

func (m *member) fetch(_ context.Context, _, digest string, _ int64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if blob, ok := m.blobs[digest]; ok {
		return blob, nil
	}
	return nil, fmt.Errorf("no blob %s", digest)
}

func (m *member) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("%s: %v", m.about, err)
	}
}

func (m *member) eventually(what string, check func() error) {
	m.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("%s: %s: %v", m.about, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// holds assigns content, which may delete so many objects, and waits until it is applied.
func (m *member) holds(pkg, release, digest string, deletes int) {
	m.t.Helper()
	blob, err := m.fetch(m.t.Context(), "", digest, 0)
	m.must(err)
	a := &wire.Assignment{Package: pkg, Release: release, Revision: release, Repository: "r", Digest: digest, Size: int64(len(blob))}
	a.Policy = &wire.Policy{DeleteBudget: &wire.Budget{Limit: &wire.Budget_Count{Count: uint32(deletes)}}}
	m.must(m.engine.Store(m.t.Context(), &wire.DesiredState{Assign: []*wire.Assignment{a}}))
	m.eventually("to hold "+release, func() error {
		for _, st := range m.engine.Held() {
			if st.GetPackage() == pkg && st.GetRelease() == release && st.GetPhase() == wire.PackageStatus_APPLIED {
				return nil
			}
		}
		return fmt.Errorf("it holds %v", m.engine.Held())
	})
}

// object is an object of a Package on the member.
type object struct {
	bundle.ID
	at    dynamic.ResourceInterface
	given map[string]any // as the release has it
}

// lasting says whether to delete the object would take others along.
func (o object) lasting() bool { return o.Kind == "Namespace" || o.Kind == "CustomResourceDefinition" }

func (m *member) objects(blob []byte) []object {
	m.t.Helper()
	var all []object
	for item, err := range bundle.Decode(bytes.NewReader(blob), bundle.DefaultLimits) {
		m.must(err)
		mapping, err := m.mapping(item.ID)
		m.must(err)
		o := object{ID: item.ID, at: m.dynamic.Resource(mapping.Resource)}
		m.must(json.Unmarshal(item.Object, &o.given))
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			namespace := item.ID.Namespace
			if namespace == "" {
				namespace = metav1.NamespaceDefault
			}
			o.at = m.dynamic.Resource(mapping.Resource).Namespace(namespace)
		}
		all = append(all, o)
	}
	return all
}

func (m *member) mapping(id bundle.ID) (*meta.RESTMapping, error) {
	version := id.APIVersion[strings.Index(id.APIVersion, "/")+1:]
	kind := schema.GroupKind{Group: id.Group(), Kind: id.Kind}
	mapping, err := m.mapper.RESTMapping(kind, version)
	if meta.IsNoMatchError(err) {
		m.mapper.Reset()
		mapping, err = m.mapper.RESTMapping(kind, version)
	}
	return mapping, err
}

// states are all objects as they are now.
func (m *member) states(all []object) map[bundle.ID]*unstructured.Unstructured {
	m.t.Helper()
	states := map[bundle.ID]*unstructured.Unstructured{}
	for _, o := range all {
		live, err := o.at.Get(m.t.Context(), o.Name, metav1.GetOptions{})
		if err != nil {
			m.t.Fatalf("%s: %s: %v", m.about, o.ID, err)
		}
		states[o.ID] = live
	}
	return states
}

// prepare makes what a Package needs and does not bring: the kinds of others, and namespaces.
func (m *member) prepare(entries []bundle.Entry) {
	m.t.Helper()
	brings, kinds := map[string]bool{}, map[string]bool{}
	var needs []bundle.ID
	for _, entry := range entries {
		id, err := bundle.Identify(entry.Object)
		m.must(err)
		needs = append(needs, id)
		switch id.Kind {
		case "Namespace":
			brings[id.Name] = true
		case "CustomResourceDefinition":
			var crd struct {
				Spec struct {
					Names struct{ Kind string }
				}
			}
			m.must(json.Unmarshal(entry.Object, &crd))
			kinds[crd.Spec.Names.Kind] = true
		}
	}
	for _, id := range needs {
		if namespace := id.Namespace; namespace != "" && !brings[namespace] {
			brings[namespace] = true
			_, err := m.client.CoreV1().Namespaces().Create(m.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
			if !apierrors.IsAlreadyExists(err) {
				m.must(err)
				m.made = append(m.made, namespace)
			}
		}
		if _, err := m.mapping(id); meta.IsNoMatchError(err) && !kinds[id.Kind] {
			m.define(id)
		}
	}
}

// define makes a kind that the data uses and does not define, as a cluster has it where its owner is installed.
func (m *member) define(id bundle.ID) {
	m.t.Helper()
	singular := strings.ToLower(id.Kind)
	plural := singular + "s"
	if id.Group() == "" || !strings.Contains(id.Group(), ".") {
		m.t.Fatalf("%s: %s is of no kind that Kubernetes has", m.about, id)
	}
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": plural + "." + id.Group(), "annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, for a test"}},
		"spec": map[string]any{
			"group": id.Group(), "scope": "Namespaced",
			"names": map[string]any{"kind": id.Kind, "listKind": id.Kind + "List", "plural": plural, "singular": singular},
			"versions": []any{map[string]any{
				"name": id.APIVersion[strings.Index(id.APIVersion, "/")+1:], "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	}}
	crds := m.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	_, err := crds.Create(m.t.Context(), crd, metav1.CreateOptions{})
	m.must(err)
	m.eventually("the kind "+id.Kind, func() error { _, err := m.mapping(id); return err })
}

// letsGo takes a Package away and waits until all of it is gone.
func (m *member) letsGo(pkg string, all []object) {
	m.t.Helper()
	m.must(m.engine.Store(m.t.Context(), &wire.DesiredState{Remove: []string{pkg}}))
	m.eventually("to be let go", func() error {
		m.finalize()
		for _, st := range m.engine.Held() {
			if st.GetPackage() == pkg {
				return fmt.Errorf("it holds %v", st)
			}
		}
		for _, o := range all {
			if _, err := o.at.Get(m.t.Context(), o.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("%s is there: %v", o.ID, err)
			}
		}
		return nil
	})
	for _, namespace := range m.made {
		m.must(m.client.CoreV1().Namespaces().Delete(m.t.Context(), namespace, metav1.DeleteOptions{}))
	}
	m.made = nil
	m.finalize()
	m.mapper.Reset()
}

// finalize does what the controller of namespaces does for those that are being deleted, and are empty.
func (m *member) finalize() {
	list, err := m.client.CoreV1().Namespaces().List(m.t.Context(), metav1.ListOptions{})
	m.must(err)
	for i := range list.Items {
		if ns := &list.Items[i]; !ns.DeletionTimestamp.IsZero() {
			ns.Spec.Finalizers = nil
			if _, err := m.client.CoreV1().Namespaces().Finalize(m.t.Context(), ns, metav1.UpdateOptions{}); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				m.must(err)
			}
		}
	}
}
