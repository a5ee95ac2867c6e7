package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	members "umbel.dev/umbel/internal/cli/fleet"
	"umbel.dev/umbel/internal/cli/plan"
	"umbel.dev/umbel/internal/cli/view"
)

const (
	// maxSearched is how many clusters one search asks. searchFor is how long they may take together, and searchEach each of them.
	maxSearched           = 200
	searchFor, searchEach = 30 * time.Second, 10 * time.Second
	// searchesAtOnce is how many searches of clusters there are at a time: each asks all of them.
	searchesAtOnce = 4
	// maxRead is among how many objects of a cluster a pattern is looked for, and maxFound how many that match are shown in all.
	maxRead, maxFound = 500, 200
)

// FoundRow is an object on a cluster.
type FoundRow struct {
	Cluster   v1alpha1.ClusterName `json:"cluster"`
	Kind      string               `json:"kind"`
	Namespace string               `json:"namespace,omitempty"`
	Name      string               `json:"name"`
	// Says is what it is printed with there, such as "Ready 1/1".
	Says    []string    `json:"says"`
	Created metav1.Time `json:"created"`
	// Package is the one that it is of, as NAMESPACE/NAME.
	Package v1alpha1.PackageKey `json:"package,omitempty"`
	Kubectl string              `json:"kubectl"`
}

// FoundPage is what was found on clusters, and where it was not looked.
type FoundPage struct {
	Rows []FoundRow `json:"rows"`
	// More is how many more were found than are shown.
	More int `json:"more"`
	// Asked is how many of the clusters that were meant were asked, and Without how many of those have no such kind.
	Asked   int `json:"asked"`
	Of      int `json:"of"`
	Without int `json:"without"`
	// Unasked are clusters of which it is not known what they have, or not of all of it; Unread is how many those are.
	Unasked []plan.Unasked `json:"unasked"`
	Unread  int            `json:"unread"`
	Umbel   string         `json:"umbel"`
}

func (c *Console) serveFind(w http.ResponseWriter, r *http.Request, s *session) {
	page, err := c.find(r, s)
	c.answer(w, r, page, err)
}

// find asks the clusters that somebody may see for objects of a kind by their name.
func (c *Console) find(r *http.Request, s *session) (*FoundPage, error) {
	asked, err := searchOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), searchFor, fmt.Errorf("the search ended after %s, before it had answered", searchFor))
	defer cancel()
	end, err := c.searches.begin(ctx, "searches")
	if err != nil {
		return nil, err
	}
	defer end()
	f := c.desk(r, s, asked.query.Namespace)
	hub, err := f.Connect()
	if err != nil {
		return nil, err
	}
	clusters, err := c.seen(ctx, s, hub, asked.clusters)
	if err != nil {
		return nil, ofHub(hub.Explain(err))
	}
	page := &FoundPage{Rows: []FoundRow{}, Of: len(clusters), Unasked: []plan.Unasked{}, Umbel: asked.command()}
	clusters = foremost(c.moment(ctx), clusters)
	page.Asked = len(clusters)
	asking, err := members.Members(ctx, f, hub, clusters)
	if err != nil {
		return nil, ofHub(err)
	}
	answers, err := members.Find(ctx, asking, asked.query, asked.name)
	if err != nil {
		return nil, refused(http.StatusBadRequest, "%s", err)
	}
	for _, found := range slices.SortedFunc(answers, func(a, b members.Found) int { return cmp.Compare(a.Cluster, b.Cluster) }) {
		page.add(found)
	}
	return page, r.Context().Err()
}

// seen are the clusters that somebody may see: all of them, or those that the hub's roles name for them.
func (c *Console) seen(ctx context.Context, s *session, hub *client.Hub, selector labels.Selector) ([]v1alpha1.MemberCluster, error) {
	may, err := c.may(ctx, s, "list", "memberclusters", "", "")
	if err != nil {
		return nil, err
	}
	if !may {
		var named v1alpha1.MemberClusterList
		err := hub.ListClusters(ctx, &named, selector)
		return named.Items, err
	}
	all, err := c.clusters(ctx, s)
	return slices.DeleteFunc(all, func(cluster v1alpha1.MemberCluster) bool { return !selector.Matches(labels.Set(cluster.Labels)) }), err
}

// foremost are as many clusters as one search asks, by name: those that are connected before others.
func foremost(m view.Moment, clusters []v1alpha1.MemberCluster) []v1alpha1.MemberCluster {
	away := func(cluster *v1alpha1.MemberCluster) int {
		if m.IsConnected(cluster) {
			return 0
		}
		return 1
	}
	byName := func(a, b v1alpha1.MemberCluster) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(clusters, func(a, b v1alpha1.MemberCluster) int { return cmp.Or(away(&a)-away(&b), byName(a, b)) })
	clusters = clusters[:min(len(clusters), maxSearched)]
	slices.SortFunc(clusters, byName)
	return clusters
}

// add puts what a cluster has on the page.
func (p *FoundPage) add(found members.Found) {
	if found.None {
		p.Without++
	}
	err := found.Err
	if found.More {
		err = errors.Join(err, fmt.Errorf("it has more than %d: these are among the first", maxRead))
	}
	if err != nil {
		p.Unread++
		if len(p.Unasked) < maxNames {
			p.Unasked = append(p.Unasked, plan.Unasked{Cluster: found.Cluster, Reason: strings.ReplaceAll(err.Error(), "\n", "; ")})
		}
	}
	for i := range found.Objects {
		if len(p.Rows) == maxFound {
			p.More += len(found.Objects) - i
			return
		}
		p.Rows = append(p.Rows, rowOf(found, &found.Objects[i]))
	}
}

func rowOf(found members.Found, object *members.Object) FoundRow {
	kind := strings.ToLower(found.Kind.Kind)
	if found.Kind.Group != "" {
		kind += "." + found.Kind.Group
	}
	row := FoundRow{
		Cluster: found.Cluster, Kind: found.Kind.Kind, Namespace: object.Namespace, Name: object.Name, Created: object.CreationTimestamp, Says: append([]string{}, object.Printed...),
		Kubectl: fmt.Sprintf("umbel kubectl %s -- get %s %s", found.Cluster, kind, object.Name),
	}
	if object.Namespace != "" {
		row.Kubectl += " -n " + object.Namespace
	}
	namespace, name, _ := strings.Cut(object.Labels[v1alpha1.PackageLabel], ".")
	if key := v1alpha1.KeyOf(namespace, name); name != "" && key.LabelValue() == object.Labels[v1alpha1.PackageLabel] { // a long one is cut off there
		row.Package = key
	}
	return row
}

// search is what is looked for, and where.
type search struct {
	query    members.Query
	name     string
	clusters labels.Selector
}

// searchOf reads what is looked for: of a kind, by [NAMESPACE/]NAME, on the clusters with some labels.
func searchOf(query url.Values) (search, error) {
	s := search{query: members.Query{Kind: query.Get("kind"), Timeout: searchEach, Most: maxRead, Late: "ask again, or see on its page how it is"}}
	namespace, name, given := strings.Cut(query.Get("name"), "/")
	if !given {
		namespace, name = "", namespace
	}
	s.name, s.query.Namespace = name, namespace
	if s.query.Kind == "" || name == "" {
		return s, refused(http.StatusBadRequest, "say which kind, as kubectl knows it, and the name: deployments and web, or shop/web for the one in namespace shop")
	}
	if len(query.Get("kind"))+len(query.Get("name")) > 600 {
		return s, refused(http.StatusBadRequest, "no kind and no name are that long")
	}
	var err error
	if s.clusters, err = labels.Parse(query.Get("clusters")); err != nil {
		return s, refused(http.StatusBadRequest, "the labels of the clusters cannot be read: %s", err)
	}
	return s, nil
}

// command is how a terminal looks for the same. It knows no patterns of names, and shows all.
func (s *search) command() string {
	line := "umbel get " + inShell(s.query.Kind)
	if s.query.Namespace == "" {
		line += " -A"
	} else {
		line += " -n " + inShell(s.query.Namespace)
	}
	if s.clusters.Empty() {
		line += " --all-clusters"
	} else {
		line += " --clusters " + inShell(s.clusters.String())
	}
	if !strings.Contains(s.name, "*") {
		line += " --field-selector " + inShell("metadata.name="+s.name)
	}
	return line
}
