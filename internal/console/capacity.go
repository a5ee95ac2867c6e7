package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/capacity"
)

// CapacityPage is what is requested, used and left: of all, and a part of the rows that it is added up by.
type CapacityPage struct {
	By    capacity.By    `json:"by"`
	Whole capacity.Row   `json:"whole"`
	Rows  []capacity.Row `json:"rows"`
	From  int            `json:"from"`
	Total int            `json:"total"`
	// Measured is how many of the Clusters said something.
	Measured int `json:"measured"`
	Clusters int `json:"clusters"`
}

const (
	// capacityOver is over how long it is averaged, as `umbel capacity` does, and capacityFor how long an answer is good.
	capacityOver, capacityFor = time.Hour, 30 * time.Second
	// maxCapacities is for how many people answers are kept.
	maxCapacities = 64
)

func (c *Console) serveCapacity(w http.ResponseWriter, r *http.Request, s *session) {
	page, err := c.capacityPage(r, s)
	c.answer(w, r, page, err)
}

func (c *Console) capacityPage(r *http.Request, s *session) (*CapacityPage, error) {
	by := capacity.By(cmp.Or(r.URL.Query().Get("by"), string(capacity.Clusters)))
	if !slices.Contains([]capacity.By{capacity.Clusters, capacity.Namespaces, capacity.Teams}, by) {
		return nil, refused(http.StatusBadRequest, "by=%s: it is clusters, namespaces or teams", by)
	}
	clusters, err := c.clusters(r.Context(), s)
	if err != nil {
		return nil, err
	}
	rows, err := c.capacities.of(strings.Join(append([]string{string(by), s.User}, s.Groups...), "\x00"), c.Now(), func() ([]capacity.Row, error) {
		return capacity.Read(r.Context(), c.desk(r, s, ""), by, capacityOver, clusters)
	})
	if err != nil {
		return nil, ofHub(err)
	}
	page := &CapacityPage{By: by, Rows: []capacity.Row{}, Total: len(rows), Clusters: len(clusters)}
	named := map[v1alpha1.ClusterName]bool{}
	for i := range rows {
		named[rows[i].Cluster] = true
		page.Whole.Add(&rows[i])
	}
	delete(named, "")
	page.Measured = len(named)
	from, to := window(r.URL.Query(), len(rows))
	page.From = from
	page.Rows = append(page.Rows, rows[from:to]...)
	return page, nil
}

// capacities are answers that are good for a while: what they are made of is an average of an hour, and takes the hub a moment.
type capacities struct {
	mu   sync.Mutex
	kept map[string]*kept
}

type kept struct {
	mu   sync.Mutex
	at   time.Time
	rows []capacity.Row
}

func (k *capacities) of(key string, now time.Time, read func() ([]capacity.Row, error)) ([]capacity.Row, error) {
	k.mu.Lock()
	if k.kept == nil || len(k.kept) > maxCapacities {
		k.kept = map[string]*kept{}
	}
	one := k.kept[key]
	if one == nil {
		one = &kept{}
		k.kept[key] = one
	}
	k.mu.Unlock()
	one.mu.Lock()
	defer one.mu.Unlock()
	if now.Sub(one.at) < capacityFor {
		return one.rows, nil
	}
	rows, err := read()
	if err == nil {
		one.at, one.rows = now, rows
	}
	return rows, err
}
