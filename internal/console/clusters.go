package console

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

const (
	// maxPage is how many rows one answer has at most, and page how many unless somebody asks.
	maxPage, defaultPage = 200, 100
	// maxCells is how many clusters the picture of the fleet shows.
	maxCells = 10000
	// maxValues is how many values of a facet are shown: those that most have.
	maxValues = 12
	// maxGroups is how many groups the picture has: the smallest become one.
	maxGroups = 60
)

// Word is a text, and what to think of it: Plain, Good, Bad or Doubtful.
type Word struct {
	Text string `json:"text"`
	Tone string `json:"tone"`
}

func toned(cell output.Cell) Word {
	tones := map[output.Tone]string{output.Good: "Good", output.Bad: "Bad", output.Doubtful: "Doubtful"}
	return Word{cell.Text, cmp.Or(tones[cell.Tone], "Plain")}
}

// HubState is what is known of the hub: while it is silent, nothing is known of anything else.
type HubState struct {
	Warning string `json:"warning,omitempty"`
}

func hubState(m view.Moment) HubState { return HubState{m.Pulse.Warning(m.Now)} }

// ClusterRow is a cluster in a list.
type ClusterRow struct {
	Name   string      `json:"name"`
	Health view.Health `json:"health"`
	// Why is what it says of that, and Since when it began.
	Why       string       `json:"why,omitempty"`
	Since     *metav1.Time `json:"since,omitempty"`
	LastSeen  *metav1.Time `json:"lastSeen,omitempty"`
	Connected Word         `json:"connected"`
	// Level is how far the hub goes there.
	Level      string            `json:"level"`
	Kubernetes string            `json:"kubernetes,omitempty"`
	Agent      string            `json:"agent,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	// Packages is how many of those that it holds are applied and healthy, of how many.
	Packages string      `json:"packages"`
	Created  metav1.Time `json:"created"`
}

func clusterRow(m view.Moment, cluster *v1alpha1.MemberCluster) ClusterRow {
	why, since := m.Why(cluster)
	row := ClusterRow{
		Name: cluster.Name, Health: m.Health(cluster), Why: why, LastSeen: cluster.Status.LastSeen, Connected: toned(m.Connected(cluster)), Level: view.Level(cluster),
		Kubernetes: cluster.Status.KubernetesVersion, Agent: cluster.Status.AgentVersion, Labels: cluster.Labels,
		Packages: view.Held(cluster).Text, Created: cluster.CreationTimestamp,
	}
	if !since.IsZero() {
		row.Since = &since
	}
	return row
}

// Facet is what clusters differ by, and how many have which value.
type Facet struct {
	Name   string  `json:"name"`
	Values []Count `json:"values"`
	// More is how many values are not shown.
	More int `json:"more,omitempty"`
}

// Count is how many have a value.
type Count struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

// ClusterPage is a part of the clusters that match.
type ClusterPage struct {
	Hub  HubState     `json:"hub"`
	Rows []ClusterRow `json:"rows"`
	// From is the place of the first row among the Total that match, of All that there are.
	From   int     `json:"from"`
	Total  int     `json:"total"`
	All    int     `json:"all"`
	Facets []Facet `json:"facets"`
}

// clusters are all members, as the cache has them: they are read, and not changed.
func (c *Console) clusters(ctx context.Context, s *session) ([]v1alpha1.MemberCluster, error) {
	if err := c.must(ctx, s, "list", "memberclusters", "", ""); err != nil {
		return nil, err
	}
	var list v1alpha1.MemberClusterList
	if err := c.cache.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	return list.Items, nil
}

// selection is what somebody searches for: words, and values of facets. Those of one facet are alternatives.
type selection struct {
	words  []string
	facets map[string][]string
}

// facetPrefix begins the parameters that name a value of a facet, and labelPrefix the facets that are labels.
const (
	facetPrefix = "f."
	labelPrefix = "label:"
)

func selectionOf(query url.Values) selection {
	s := selection{words: strings.Fields(strings.ToLower(query.Get("q"))), facets: map[string][]string{}}
	for name, values := range query {
		if facet, ok := strings.CutPrefix(name, facetPrefix); ok {
			s.facets[facet] = values
		}
	}
	return s
}

func facetValue(row *ClusterRow, facet string) string {
	switch facet {
	case "health":
		return string(row.Health)
	case "kubernetes":
		return row.Kubernetes
	case "agent":
		return row.Agent
	case "level":
		return row.Level
	}
	return row.Labels[strings.TrimPrefix(facet, labelPrefix)]
}

// matches says whether a row is meant.
func (s selection) matches(row *ClusterRow) bool {
	_, misses := s.misses(row)
	return misses == 0 && s.speaks(row)
}

// misses returns how many facets a row does not match, and one of them.
func (s selection) misses(row *ClusterRow) (one string, many int) {
	for facet, values := range s.facets {
		if !slices.Contains(values, facetValue(row, facet)) {
			one, many = facet, many+1
		}
	}
	return one, many
}

// speaks says whether a row says all words.
func (s selection) speaks(row *ClusterRow) bool {
	return !slices.ContainsFunc(s.words, func(word string) bool { return !said(row, word) })
}

// said says whether a row says a word: in its name, its labels, its versions or its message.
func said(row *ClusterRow, word string) bool {
	for _, text := range []string{row.Name, row.Kubernetes, string(row.Health), row.Why} {
		if strings.Contains(strings.ToLower(text), word) {
			return true
		}
	}
	for key, value := range row.Labels {
		if strings.Contains(strings.ToLower(key+"="+value), word) {
			return true
		}
	}
	return false
}

// count says by what the rows differ: for each facet among those that match the others.
func (s selection) count(rows []ClusterRow) []Facet {
	names := []string{"health", "level", "kubernetes", "agent"}
	labels := map[string]bool{}
	for i := range rows {
		for key := range rows[i].Labels {
			labels[labelPrefix+key] = true
		}
	}
	var of []string
	for name := range labels {
		of = append(of, name)
	}
	slices.Sort(of)
	names = append(names, of[:min(len(of), maxValues)]...)
	counts := make([]map[string]int, len(names))
	for n := range names {
		counts[n] = map[string]int{}
	}
	for i := range rows {
		row := &rows[i]
		if !s.speaks(row) {
			continue
		}
		missed, misses := s.misses(row)
		for n, name := range names {
			if misses > 1 || misses == 1 && missed != name {
				continue
			}
			if value := facetValue(row, name); value != "" {
				counts[n][value]++
			}
		}
	}
	facets := []Facet{}
	for n, name := range names {
		facets = append(facets, facetOf(name, counts[n], s.facets[name]))
	}
	return facets
}

func facetOf(name string, counts map[string]int, chosen []string) Facet {
	f := Facet{Name: name, Values: []Count{}}
	for _, value := range chosen { // what was chosen stays in sight, whatever matches
		if _, counted := counts[value]; !counted {
			counts[value] = 0
		}
	}
	for value, count := range counts {
		f.Values = append(f.Values, Count{value, count})
	}
	slices.SortFunc(f.Values, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value))
	})
	if len(f.Values) > maxValues {
		f.More, f.Values = len(f.Values)-maxValues, f.Values[:maxValues]
	}
	return f
}

// rank is a place of a health: the worst comes first.
func rank(h view.Health) int { return slices.Index(view.Healths, h) }

// order sorts rows by a column; one that begins with "-" is turned round. Rows that are equal stand by their names.
func order(rows []ClusterRow, by string) {
	column, back := strings.CutPrefix(by, "-")
	slices.SortFunc(rows, func(a, b ClusterRow) int {
		way := 0
		switch column {
		case "health":
			way = cmp.Compare(rank(a.Health), rank(b.Health))
		case "kubernetes":
			way = cmp.Compare(a.Kubernetes, b.Kubernetes)
		case "agent":
			way = cmp.Compare(a.Agent, b.Agent)
		case "level":
			way = cmp.Compare(a.Level, b.Level)
		case "age":
			way = a.Created.Compare(b.Created.Time)
		case "name":
			way = cmp.Compare(a.Name, b.Name)
		}
		if back {
			way = -way
		}
		return cmp.Or(way, cmp.Compare(a.Name, b.Name))
	})
}

// window is which rows are asked for.
func window(query url.Values, total int) (from, to int) {
	from, _ = strconv.Atoi(query.Get("from")) // what is no number is the beginning
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit <= 0 {
		limit = defaultPage
	}
	from = max(0, min(from, total))
	return from, min(total, from+min(limit, maxPage))
}

func (c *Console) serveClusters(w http.ResponseWriter, r *http.Request, s *session) {
	page, err := c.clusterPage(r.Context(), s, r.URL.Query())
	c.answer(w, r, page, err)
}

func (c *Console) clusterPage(ctx context.Context, s *session, query url.Values) (*ClusterPage, error) {
	clusters, err := c.clusters(ctx, s)
	if err != nil {
		return nil, err
	}
	m := c.moment(ctx)
	rows := make([]ClusterRow, 0, len(clusters))
	for i := range clusters {
		rows = append(rows, clusterRow(m, &clusters[i]))
	}
	chosen := selectionOf(query)
	page := &ClusterPage{Hub: hubState(m), All: len(rows), Facets: chosen.count(rows)}
	rows = slices.DeleteFunc(rows, func(row ClusterRow) bool { return !chosen.matches(&row) })
	order(rows, cmp.Or(query.Get("sort"), "health"))
	from, to := window(query, len(rows))
	page.From, page.Total, page.Rows = from, len(rows), rows[from:to]
	return page, nil
}

// Fleet is the whole fleet at a glance.
type Fleet struct {
	Hub    HubState `json:"hub"`
	Total  int      `json:"total"`
	Health []Count  `json:"health"`
	// Labels are those that clusters can be grouped by.
	Labels []string `json:"labels"`
	Groups []Group  `json:"groups"`
	// NotShown is how many clusters the picture has no room for.
	NotShown   int     `json:"notShown,omitempty"`
	Kubernetes []Count `json:"kubernetes"`
	Agents     []Count `json:"agents"`
	// Troubles are a few clusters that are not as they should be, the latest first.
	Troubles []ClusterRow `json:"troubles"`
}

// Group are clusters with one value of a label. Cells has for each, in the order of the names, the place of its health in Healths.
type Group struct {
	Value string   `json:"value"`
	Names []string `json:"names"`
	Cells string   `json:"cells"`
}

// maxTroubles is how many are shown on the first page.
const maxTroubles = 8

func (c *Console) serveFleet(w http.ResponseWriter, r *http.Request, s *session) {
	clusters, err := c.clusters(r.Context(), s)
	if err != nil {
		c.answer(w, r, nil, err)
		return
	}
	writeJSON(w, r, fleet(c.moment(r.Context()), clusters, r.URL.Query().Get("group")))
}

func fleet(m view.Moment, clusters []v1alpha1.MemberCluster, by string) *Fleet {
	f := &Fleet{Hub: hubState(m), Total: len(clusters), Groups: []Group{}, Troubles: []ClusterRow{}, Labels: []string{}}
	healths, versions, agents, labels := map[string]int{}, map[string]int{}, map[string]int{}, map[string]bool{}
	groups := map[string][]*v1alpha1.MemberCluster{}
	for i := range clusters {
		cluster := &clusters[i]
		health := m.Health(cluster)
		healths[string(health)]++
		versions[cmp.Or(cluster.Status.KubernetesVersion, "not known")]++
		agents[cmp.Or(cluster.Status.AgentVersion, "not known")]++
		for key := range cluster.Labels {
			labels[key] = true
		}
		groups[cluster.Labels[by]] = append(groups[cluster.Labels[by]], cluster)
		if health == view.NotReady || health == view.Silent {
			f.Troubles = append(f.Troubles, clusterRow(m, cluster))
		}
	}
	for _, health := range view.Healths {
		f.Health = append(f.Health, Count{string(health), healths[string(health)]})
	}
	for key := range labels {
		f.Labels = append(f.Labels, key)
	}
	slices.Sort(f.Labels)
	f.Kubernetes, f.Agents = facetOf("", versions, nil).Values, facetOf("", agents, nil).Values
	slices.SortFunc(f.Troubles, func(a, b ClusterRow) int {
		return cmp.Or(cmp.Compare(rank(a.Health), rank(b.Health)), -compareTimes(a.Since, b.Since), cmp.Compare(a.Name, b.Name))
	})
	f.Troubles = f.Troubles[:min(len(f.Troubles), maxTroubles)]
	f.draw(m, groups)
	return f
}

func compareTimes(a, b *metav1.Time) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return a.Compare(b.Time)
}

// draw makes the picture: the largest groups first, and those without the label last.
func (f *Fleet) draw(m view.Moment, groups map[string][]*v1alpha1.MemberCluster) {
	var values []string
	for value := range groups {
		values = append(values, value)
	}
	slices.SortFunc(values, func(a, b string) int {
		if a == "" || b == "" {
			return cmp.Compare(b, a) // the empty one is last
		}
		return cmp.Or(cmp.Compare(len(groups[b]), len(groups[a])), cmp.Compare(a, b))
	})
	shown := 0
	for i, value := range values {
		if i == maxGroups {
			break
		}
		of := groups[value]
		slices.SortFunc(of, func(a, b *v1alpha1.MemberCluster) int { return cmp.Compare(a.Name, b.Name) })
		of = of[:min(len(of), maxCells-shown)]
		shown += len(of)
		g := Group{Value: value, Names: make([]string, 0, len(of))}
		cells := make([]byte, 0, len(of))
		for _, cluster := range of {
			g.Names = append(g.Names, cluster.Name)
			cells = append(cells, '0'+byte(rank(m.Health(cluster))))
		}
		g.Cells = string(cells)
		f.Groups = append(f.Groups, g)
	}
	f.NotShown = f.Total - shown
}
