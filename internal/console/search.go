package console

import (
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/view"
)

// PlacementRow is a placement in a list.
type PlacementRow struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Ready     Word   `json:"ready"`
	Message   string `json:"message,omitempty"`
	Means     string `json:"means"`
	// Labels is the selector of labels, as somebody types it.
	Labels   string      `json:"labels"`
	Selected int32       `json:"selected"`
	Created  metav1.Time `json:"created"`
	Next     []string    `json:"next"`
}

// PlacementPage is a part of the placements.
type PlacementPage struct {
	Hub   HubState       `json:"hub"`
	Rows  []PlacementRow `json:"rows"`
	From  int            `json:"from"`
	Total int            `json:"total"`
}

func (c *Console) servePlacements(w http.ResponseWriter, r *http.Request, s *session) {
	var list v1alpha1.PlacementList
	err := c.cache.List(r.Context(), &list, client.UnsafeDisableDeepCopy)
	if err == nil {
		list.Items, err = visible(r.Context(), c, s, "placements", list.Items)
	}
	if err != nil {
		c.answer(w, r, nil, err)
		return
	}
	m := c.moment(r.Context())
	words := strings.ToLower(r.URL.Query().Get("q"))
	rows := []PlacementRow{}
	for i := range list.Items {
		p := &list.Items[i]
		row := PlacementRow{
			Namespace: p.Namespace, Name: p.Name, Ready: toned(m.PlacementReady(p)), Message: view.Message(p.Status.Conditions), Means: view.Means(&p.Spec),
			Labels:   labelsOf(&p.Spec.ClusterSelector),
			Selected: p.Status.Selected, Created: p.CreationTimestamp, Next: append([]string{}, view.PlacementSteps(p)...),
		}
		if strings.Contains(strings.ToLower(row.Namespace+"/"+row.Name+" "+row.Means), words) {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b PlacementRow) int { return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name) })
	from, to := window(r.URL.Query(), len(rows))
	writeJSON(w, r, PlacementPage{Hub: hubState(m), Rows: rows[from:to], From: from, Total: len(rows)})
}

// labelsOf writes a selector as it is typed; one that selects everything is empty.
func labelsOf(selector *metav1.LabelSelector) string {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return ""
	}
	return parsed.String()
}

// Hit is something that was found, and where it is in the console.
type Hit struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	Path string `json:"path"`
	// Note says in a few words what it is.
	Note string `json:"note,omitempty"`
}

// maxHits is how many are shown of each kind.
const maxHits = 20

// serveSearch finds clusters and packages by words. Of what somebody may not list nothing is found.
func (c *Console) serveSearch(w http.ResponseWriter, r *http.Request, s *session) {
	words := strings.Fields(strings.ToLower(r.URL.Query().Get("q")))
	hits := []Hit{}
	if len(words) == 0 {
		writeJSON(w, r, hits)
		return
	}
	m := c.moment(r.Context())
	if may, err := c.may(r.Context(), s, "list", "memberclusters", "", ""); err != nil {
		c.answer(w, r, nil, err)
		return
	} else if may {
		clusters, err := c.clusters(r.Context(), s)
		if err != nil {
			c.answer(w, r, nil, err)
			return
		}
		for i := range clusters {
			row := clusterRow(m, &clusters[i])
			if len(hits) < maxHits && (selection{words: words}).matches(&row) {
				hits = append(hits, Hit{"Cluster", row.Name, "clusters/" + row.Name, strings.TrimSpace(string(row.Health) + " " + row.Kubernetes)})
			}
		}
	}
	packages, err := c.packages(r.Context(), s)
	if err != nil { // who may list none finds none
		packages = nil
	}
	found := 0
	for i := range packages {
		row := packageRow(m, &packages[i])
		text := strings.ToLower(row.Namespace + "/" + row.Name + " " + row.Source)
		if found < maxHits && !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) }) {
			found++
			hits = append(hits, Hit{"Package", row.Namespace + "/" + row.Name, "packages/" + row.Namespace + "/" + row.Name, row.Clusters.Summary})
		}
	}
	writeJSON(w, r, hits)
}
