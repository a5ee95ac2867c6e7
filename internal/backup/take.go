package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	objectsName = "objects.jsonl"
	filePrefix  = "files/"
	blobPrefix  = "content/"
	// attempts are how often the API is read, when it forgets the revision meanwhile.
	attempts = 3
)

// Hub is what Take needs of a hub.
type Hub struct {
	// Config reaches its API, with the rights of an administrator.
	Config *rest.Config
	Host   Host
	// Files are what it keeps outside of the API, by their paths in its folder.
	Files map[string][]byte
	// Blob returns content by digest, or fs.ErrNotExist. It is nil where content is kept elsewhere.
	Blob func(repository, digest string) ([]byte, error)
	// Version of this program, and its clock.
	Version string
	Now     func() time.Time
}

// Take writes a backup of a hub while it runs, and returns what is in it.
func Take(ctx context.Context, hub Hub, to io.Writer) (Manifest, error) {
	manifest := Manifest{
		Magic: magic, Format: Format, ID: rand.Text(), Umbel: hub.Version, Time: hub.Now().UTC().Truncate(time.Second),
		Objects: map[string]int{},
	}
	objects, err := list(ctx, hub)
	if err != nil {
		return manifest, err
	}
	small := map[string][]byte{}
	for name, raw := range hub.Files {
		small[filePrefix+name] = raw
	}
	var lines bytes.Buffer
	for _, o := range objects {
		manifest.Objects[o.GetKind()]++
		if err := json.NewEncoder(&lines).Encode(o.Object); err != nil {
			return manifest, err
		}
	}
	small[objectsName] = lines.Bytes()
	for _, name := range slices.Sorted(maps.Keys(small)) {
		manifest.Parts = append(manifest.Parts, partOf(name, small[name]))
	}
	blobs, err := contents(hub, objects)
	if err != nil {
		return manifest, err
	}
	manifest.Parts = append(manifest.Parts, blobs...)
	return manifest, write(to, manifest, func(part Part) ([]byte, error) {
		if raw, ok := small[part.Name]; ok {
			return raw, nil
		}
		repository, digest := blobOf(part.Name)
		return hub.Blob(repository, digest)
	})
}

// list returns what belongs to the hub, all of it as it was at one moment.
func list(ctx context.Context, hub Hub) ([]*unstructured.Unstructured, error) {
	client, err := dynamic.NewForConfig(hub.Config)
	if err != nil {
		return nil, err
	}
	kinds, err := ourKinds(hub.Config)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		s := &snapshot{client: client, host: hub.Host, roles: map[string]bool{}}
		err := s.read(ctx, kinds)
		if err == nil {
			Sort(s.objects)
			return s.objects, nil
		}
		if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) || try == attempts {
			return nil, err
		}
	}
}

// ourKinds returns the kinds of umbel.dev that the API serves.
func ourKinds(config *rest.Config) ([]schema.GroupVersionResource, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	served, err := client.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if apierrors.IsNotFound(err) {
		return nil, errors.New("there is no hub: the API does not know the kinds of umbel.dev")
	}
	if err != nil {
		return nil, fmt.Errorf("reading which kinds the hub has: %w", err)
	}
	var kinds []schema.GroupVersionResource
	for _, r := range served.APIResources {
		if !strings.Contains(r.Name, "/") {
			kinds = append(kinds, v1alpha1.GroupVersion.WithResource(r.Name))
		}
	}
	return kinds, nil
}

// snapshot reads an API at one revision.
type snapshot struct {
	client   dynamic.Interface
	host     Host
	revision string
	objects  []*unstructured.Unstructured
	roles    map[string]bool // that are among them, by keyOf
}

var (
	namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	secrets    = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	configmaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	accounts   = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	rules      = schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: "prometheusrules"}
	roles      = rbac("roles")
	bindings   = rbac("rolebindings")
)

func rbac(name string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: name}
}

func (s *snapshot) read(ctx context.Context, kinds []schema.GroupVersionResource) error {
	for _, kind := range append(kinds, rbac("clusterroles"), rbac("clusterrolebindings")) {
		if err := s.add(ctx, kind, ""); err != nil {
			return err
		}
	}
	inside := map[string]bool{v1alpha1.SystemNamespace: true}
	for _, o := range s.objects {
		if o.GetNamespace() != "" {
			inside[o.GetNamespace()] = true
		}
	}
	all, err := s.list(ctx, namespaces, "")
	if err != nil {
		return err
	}
	for i := range all {
		if Belongs(&all[i], s.host) && (inside[all[i].GetName()] || s.host == Own) {
			inside[all[i].GetName()] = true
			s.objects = append(s.objects, &all[i])
		}
	}
	for _, namespace := range slices.Sorted(maps.Keys(inside)) {
		for _, kind := range []schema.GroupVersionResource{secrets, configmaps, accounts, roles, bindings, rules} {
			if s.host == Shared && namespace != v1alpha1.SystemNamespace && (kind == secrets || kind == configmaps || kind == rules) {
				continue // of others: they are not even read
			}
			err := s.add(ctx, kind, namespace)
			if kind == rules && apierrors.IsNotFound(err) {
				continue // a hub that keeps no metrics has no such kind
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *snapshot) add(ctx context.Context, kind schema.GroupVersionResource, namespace string) error {
	items, err := s.list(ctx, kind, namespace)
	for i := range items {
		o := &items[i]
		if !Belongs(o, s.host) && (installed(o) || !s.roles[boundBy(o)]) { // roles are read before what binds them
			continue
		}
		Bare(o)
		s.objects = append(s.objects, o)
		if role := keyOf(o); role != "" {
			s.roles[role] = true
		}
	}
	return err
}

func (s *snapshot) list(ctx context.Context, kind schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, error) {
	options := metav1.ListOptions{}
	if s.revision != "" {
		options.ResourceVersion, options.ResourceVersionMatch = s.revision, metav1.ResourceVersionMatchExact
	}
	list, err := s.client.Resource(kind).Namespace(namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", kind.GroupResource(), err)
	}
	if s.revision == "" {
		s.revision = list.GetResourceVersion()
	}
	return list.Items, nil
}

// contents returns the parts for the content of the Releases that Packages are at. What is not there is left out: a hub
// renders it again.
func contents(hub Hub, objects []*unstructured.Unstructured) ([]Part, error) {
	if hub.Blob == nil {
		return nil, nil
	}
	current := map[string]bool{}
	for _, o := range objects {
		if name, _, _ := unstructured.NestedString(o.Object, "status", "release"); o.GetKind() == "Package" && name != "" {
			current[o.GetNamespace()+"/"+name] = true
		}
	}
	parts := map[string]Part{}
	for _, o := range objects {
		if o.GetKind() != "Release" || !current[o.GetNamespace()+"/"+o.GetName()] {
			continue
		}
		repository, _, _ := unstructured.NestedString(o.Object, "spec", "repository")
		variants, _, _ := unstructured.NestedSlice(o.Object, "spec", "variants")
		for _, v := range variants {
			variant, _ := v.(map[string]any)
			digest, _ := variant["digest"].(string)
			raw, err := hub.Blob(repository, digest)
			if isAbsent(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("reading content %s of release %s/%s: %w", digest, o.GetNamespace(), o.GetName(), err)
			}
			name := blobPrefix + repository + "/" + digest
			parts[name] = partOf(name, raw)
		}
	}
	return slices.Collect(func(yield func(Part) bool) {
		for _, name := range slices.Sorted(maps.Keys(parts)) {
			if !yield(parts[name]) {
				return
			}
		}
	}), nil
}

// blobOf returns what a part's name says of content.
func blobOf(name string) (repository, digest string) {
	name = strings.TrimPrefix(name, blobPrefix)
	i := strings.LastIndexByte(name, '/')
	return name[:max(i, 0)], name[i+1:]
}
