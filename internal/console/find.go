package console

import (
	"cmp"
	"context"
	"encoding/json"
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
	// Word is how kubectl knows its kind there.
	Word    string `json:"word"`
	Kubectl string `json:"kubectl"`
}

// FoundPage is what was found on clusters so far, and where it was not looked.
type FoundPage struct {
	// Asked is how many of the clusters that were meant are asked, Said how many of those have answered, or will not any more.
	Asked int `json:"asked"`
	Of    int `json:"of"`
	Said  int `json:"said"`
	// Found is how many objects were found: more, maybe, than are shown.
	Found int `json:"found"`
	// Without is how many clusters have no such kind, and Unread of how many it is not known what they have, or not of all of it.
	Without int    `json:"without"`
	Unread  int    `json:"unread"`
	Umbel   string `json:"umbel"`
}

// FoundLine is one line of the answer to a search: where it stands, and what has come since the line before.
type FoundLine struct {
	Page FoundPage  `json:"page"`
	Rows []FoundRow `json:"rows,omitempty"`
	// Unasked is a cluster of which it is not known what it has, or not of all of it; the first that there are.
	Unasked *plan.Unasked `json:"unasked,omitempty"`
	// Error is why it ended before all had answered.
	Error string `json:"error,omitempty"`
}

// serveFind answers line by line, as clusters do: the first line says how many are asked.
func (c *Console) serveFind(w http.ResponseWriter, r *http.Request, s *session) {
	began := false
	say := func(line *FoundLine) error {
		if !began {
			began = true
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		if err := json.NewEncoder(w).Encode(line); err != nil {
			return err
		}
		return http.NewResponseController(w).Flush()
	}
	err := c.find(r, s, say)
	if err != nil && began {
		say(&FoundLine{Error: err.Error()}) //nolint:errcheck // nobody is left who could be told
		return
	}
	if err != nil {
		c.answer(w, r, nil, err)
	}
}

// find asks the clusters that somebody may see for objects of a kind by their name.
func (c *Console) find(r *http.Request, s *session, say func(*FoundLine) error) error {
	asked, err := searchOf(r.URL.Query())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), searchFor, fmt.Errorf("the search ended after %s, before it had answered: choose fewer clusters by their labels", searchFor))
	defer cancel()
	end, err := c.searches.begin(ctx, "searches")
	if err != nil {
		return err
	}
	defer end()
	f := c.desk(r, s, asked.query.Namespace)
	hub, err := f.Connect()
	if err != nil {
		return err
	}
	clusters, err := c.seen(ctx, s, hub, asked.clusters)
	if err != nil {
		return ofHub(hub.Explain(err))
	}
	page := &FoundPage{Of: len(clusters), Umbel: asked.command()}
	clusters = foremost(c.moment(ctx), clusters)
	page.Asked = len(clusters)
	asking, err := members.Members(ctx, f, hub, clusters)
	if err != nil {
		return ofHub(err)
	}
	answers, err := members.Find(ctx, asking, asked.query, asked.name)
	if err != nil {
		return refused(http.StatusBadRequest, "%s", err)
	}
	if err := say(&FoundLine{Page: *page}); err != nil {
		return err
	}
	for found := range answers {
		if err := say(page.add(found)); err != nil {
			return err
		}
	}
	return r.Context().Err()
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

// add counts what a cluster has, and is the line that says so.
func (p *FoundPage) add(found members.Found) *FoundLine {
	line := &FoundLine{}
	p.Said++
	if found.None {
		p.Without++
	}
	err := found.Err
	if found.More {
		err = errors.Join(err, fmt.Errorf("it has more than %d: these are among the first", maxRead))
	}
	if err != nil {
		if p.Unread++; p.Unread <= maxNames {
			line.Unasked = &plan.Unasked{Cluster: found.Cluster, Reason: strings.ReplaceAll(err.Error(), "\n", "; ")}
		}
	}
	for i := range found.Objects {
		if p.Found++; p.Found <= maxFound {
			line.Rows = append(line.Rows, rowOf(found, &found.Objects[i]))
		}
	}
	line.Page = *p
	return line
}

func rowOf(found members.Found, object *members.Object) FoundRow {
	kind := strings.ToLower(found.Kind.Kind)
	if found.Kind.Group != "" {
		kind += "." + found.Kind.Group
	}
	row := FoundRow{
		Cluster: found.Cluster, Kind: found.Kind.Kind, Namespace: object.Namespace, Name: object.Name, Created: object.CreationTimestamp, Says: append([]string{}, object.Printed...),
		Word: kind, Kubectl: fmt.Sprintf("umbel kubectl %s -- get %s %s", found.Cluster, kind, object.Name),
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
