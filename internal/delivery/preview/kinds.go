package preview

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/restmapper"

	"umbel.dev/umbel/internal/delivery/bundle"
)

// catalog is what kinds a member serves, as a trusting look found it a moment ago; nil when none did.
type catalog struct {
	keep time.Duration // how long what was found is believed

	mu    sync.Mutex
	kinds *kinds
}

// kinds is what kinds a member served at a time.
type kinds struct {
	since  time.Time
	mapper meta.RESTMapper
	served []*metav1.APIResourceList
	silent map[schema.GroupVersion]error // of which it could not be asked what there is
}

// sweep drops what is not believed any more.
func (c *catalog) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kinds != nil && time.Since(c.kinds.since) >= c.keep {
		c.kinds = nil
	}
}

func (c *catalog) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kinds = nil
}

// kindsFor returns what kinds the member serves; for a content that trusts, as they were found a moment ago if all of its own are among them.
func (m *Member) kindsFor(ctx context.Context, content *Content) (*kinds, error) {
	m.catalog.mu.Lock() // whoever waits would ask for the same
	defer m.catalog.mu.Unlock()
	now := time.Now()
	if k := m.catalog.kinds; content.trusts && k != nil && !now.Before(k.since) && now.Sub(k.since) <= m.catalog.keep && k.cover(content) {
		return k, nil
	}
	asked, err := discovery.NewDiscoveryClientForConfigAndClient(m.config, &http.Client{Transport: within{ctx, m.client.Transport}})
	if err != nil {
		return nil, err
	}
	groups, resources, err := asked.ServerGroupsAndResources()
	silent, part := discovery.GroupDiscoveryFailedErrorGroups(err)
	if err != nil && !part {
		return nil, fmt.Errorf("asking which kinds there are: %w", err)
	}
	found := &kinds{since: now, mapper: mapperOf(groups, resources), served: preferred(groups, resources), silent: silent}
	if content.trusts {
		m.catalog.kinds = found
		time.AfterFunc(m.catalog.keep, m.catalog.sweep)
	}
	return found, nil
}

// cover says whether all kinds of a content are known, and nothing is in doubt.
func (k *kinds) cover(content *Content) bool {
	return len(k.silent) == 0 && !slices.ContainsFunc(content.objects, func(o Object) bool {
		_, err := k.mapping(o.ID)
		return err != nil
	})
}

func (k *kinds) mapping(id bundle.ID) (*meta.RESTMapping, error) {
	gvk := schema.FromAPIVersionAndKind(id.APIVersion, id.Kind)
	return k.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
}

// mute returns why it could not be asked what there is in a group; nil when it could.
func (k *kinds) mute(group string) error {
	for gv, why := range k.silent {
		if gv.Group == group {
			return why
		}
	}
	return nil
}

func mapperOf(groups []*metav1.APIGroup, lists []*metav1.APIResourceList) meta.RESTMapper {
	byVersion := map[string][]metav1.APIResource{}
	for _, list := range lists {
		byVersion[list.GroupVersion] = list.APIResources
	}
	var known []*restmapper.APIGroupResources
	for _, group := range groups {
		resources := map[string][]metav1.APIResource{}
		for _, version := range group.Versions {
			resources[version.Version] = byVersion[version.GroupVersion]
		}
		known = append(known, &restmapper.APIGroupResources{Group: *group, VersionedResources: resources})
	}
	return restmapper.NewDiscoveryRESTMapper(known)
}

// preferred are the kinds that can be listed, each in the version that the server prefers.
func preferred(groups []*metav1.APIGroup, lists []*metav1.APIResourceList) []*metav1.APIResourceList {
	prefers := map[string]bool{}
	for _, group := range groups {
		prefers[group.PreferredVersion.GroupVersion] = true
	}
	var kept []*metav1.APIResourceList
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "delete"}}, lists) {
		if prefers[list.GroupVersion] {
			kept = append(kept, list)
		}
	}
	return kept
}
