package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"umbel.dev/umbel/api/v1alpha1"
)

// pageSize is how many objects are asked for at a time, as kubectl does.
const pageSize = 500

// answer is what a member said. With an error it may hold a part.
type answer struct {
	cluster    v1alpha1.ClusterName
	kind       schema.GroupVersionKind
	namespaced bool
	// pages are the bodies of responses, and more says that there are others, which were not asked for.
	pages [][]byte
	more  bool
	err   error
}

// ask reads what is asked for from the member, in one of the media types of accept.
func ask(ctx context.Context, m Member, query Query, accept string) answer {
	said := answer{cluster: m.Cluster, err: m.Gone}
	if m.Gone != nil {
		return said
	}
	late := fmt.Errorf("it did not answer within %s: %s", query.Timeout, query.Late)
	ctx, cancel := context.WithTimeoutCause(ctx, query.Timeout, late)
	defer cancel()
	said.err = m.read(ctx, query, accept, &said)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		said.err = context.Cause(ctx)
	}
	return said
}

func (m Member) read(ctx context.Context, query Query, accept string, said *answer) error {
	config := rest.CopyConfig(m.Config)
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	api, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return err
	}
	mapping, err := m.find(ctx, query.Kind)
	if apierrors.ReasonForError(err) != "" {
		if _, again := do(ctx, api.Get().AbsPath("/apis")); again != nil {
			err = again // in its own words, which discovery drops
		}
	}
	if err != nil {
		return err
	}
	said.kind, said.namespaced = mapping.GroupVersionKind, mapping.Scope.Name() == meta.RESTScopeNameNamespace
	path := []string{"/apis", mapping.Resource.Group, mapping.Resource.Version}
	if mapping.Resource.Group == "" {
		path = []string{"/api", mapping.Resource.Version}
	}
	if said.namespaced && query.Namespace != "" {
		path = append(path, "namespaces", query.Namespace)
	}
	path = append(path, mapping.Resource.Resource)
	request := func(names ...string) *rest.Request {
		return api.Get().AbsPath(append(path[:len(path):len(path)], names...)...).SetHeader("Accept", accept)
	}
	if len(query.Names) == 0 {
		said.pages, said.more, err = list(ctx, request, query)
		return err
	}
	var missing []error
	for _, name := range query.Names {
		body, err := do(ctx, request(name))
		if err != nil {
			missing = append(missing, err)
			continue
		}
		said.pages = append(said.pages, body)
	}
	return errors.Join(missing...)
}

// list reads all pages, or the first where no more than so many objects are wanted. When the member forgets where the next one begins, it begins anew and
// asks for all at once.
func list(ctx context.Context, request func(...string) *rest.Request, query Query) (pages [][]byte, more bool, err error) {
	next, limit := "", pageSize
	if query.Most > 0 {
		limit = query.Most
	}
	for {
		page := request().Param("limit", strconv.Itoa(limit))
		for name, value := range map[string]string{"labelSelector": query.Labels, "fieldSelector": query.Fields, "continue": next} {
			if value != "" {
				page.Param(name, value)
			}
		}
		body, err := do(ctx, page)
		if apierrors.IsResourceExpired(err) && next != "" {
			pages, next, limit = nil, "", 0
			continue
		}
		if err != nil {
			return pages, false, err
		}
		pages = append(pages, body)
		var list struct {
			Metadata struct{ Continue string }
		}
		if err := json.Unmarshal(body, &list); err != nil {
			return pages, false, fmt.Errorf("reading a list: %w", err)
		}
		if next = list.Metadata.Continue; next == "" || query.Most > 0 {
			return pages, next != "", nil
		}
	}
}

func do(ctx context.Context, request *rest.Request) ([]byte, error) {
	result := request.Do(ctx)
	if err := result.Error(); err != nil {
		return nil, err
	}
	return result.Raw()
}

// find returns the kind that a word means to the member: kubectl's words, short names included.
func (m Member) find(ctx context.Context, word string) (*meta.RESTMapping, error) {
	config := rest.CopyConfig(m.Config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return within{ctx, next} })
	asked, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	groups, resources, unknown := asked.ServerGroupsAndResources()
	if unknown != nil && len(groups) == 0 {
		return nil, fmt.Errorf("asking which kinds it has: %w", unknown)
	}
	known := kindsOf{asked, groups, resources}
	served, err := restmapper.GetAPIGroupResources(known)
	if err != nil {
		return nil, fmt.Errorf("asking which kinds it has: %w", err)
	}
	mapper := restmapper.NewShortcutExpander(restmapper.NewDiscoveryRESTMapper(served), known, nil)
	exact, group := schema.ParseResourceArg(strings.ToLower(word))
	if exact == nil {
		anyVersion := group.WithVersion("")
		exact = &anyVersion
	}
	kind, err := mapper.KindFor(*exact)
	if meta.IsNoMatchError(err) {
		kind, err = mapper.KindFor(group.WithVersion("")) // web.v1.example.com may be a group v1.example.com
	}
	if meta.IsNoMatchError(err) && unknown != nil {
		return nil, fmt.Errorf("whether it has a kind %q is not known: %w", word, unknown)
	}
	if meta.IsNoMatchError(err) {
		return nil, &noKind{word, m.Cluster}
	}
	if err != nil {
		return nil, fmt.Errorf("asking which kinds it has: %w", err)
	}
	return mapper.RESTMapping(kind.GroupKind(), kind.Version)
}

// noKind says that a member has no kind that is called so.
type noKind struct {
	word    string
	cluster v1alpha1.ClusterName
}

// Error implements error.
func (e *noKind) Error() string {
	return fmt.Sprintf("it has no kind %q: `umbel kubectl %s -- api-resources` lists them", e.word, e.cluster)
}

// kindsOf is what a member has said of its kinds: it is asked once.
type kindsOf struct {
	discovery.DiscoveryInterface
	groups    []*metav1.APIGroup
	resources []*metav1.APIResourceList
}

// ServerGroupsAndResources implements discovery.ServerResourcesInterface.
func (k kindsOf) ServerGroupsAndResources() ([]*metav1.APIGroup, []*metav1.APIResourceList, error) {
	return k.groups, k.resources, nil
}

// within has requests of a client that knows no context end with one.
type within struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (w within) RoundTrip(r *http.Request) (*http.Response, error) {
	return w.next.RoundTrip(r.WithContext(w.ctx))
}
