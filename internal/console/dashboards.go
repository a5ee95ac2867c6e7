package console

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	hubclient "umbel.dev/umbel/internal/cli/client"
)

const (
	// maxDashboards is how many are listed, and maxNamespaces in how many namespaces they are looked for one by one.
	maxDashboards, maxNamespaces = 200, 50
)

// DashboardRow is a dashboard in a list.
type DashboardRow struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Title     string `json:"title"`
}

// Dashboard is what people look at together: graphs of queries, kept in a ConfigMap as Grafana's sidecar finds it.
type Dashboard struct {
	DashboardRow
	// Field is where in the ConfigMap's data it is.
	Field   string           `json:"field"`
	Minutes int              `json:"minutes"`
	Panels  []DashboardPanel `json:"panels"`
	// Problem says why it cannot be read; empty when it can.
	Problem string `json:"problem,omitempty"`
	Deeds   []Deed `json:"deeds"`
}

// DashboardPage is the dashboards that somebody may see.
type DashboardPage struct {
	Rows []DashboardRow `json:"rows"`
	// More says that there are others, which are not listed.
	More string `json:"more,omitempty"`
}

func rowOfBoard(config *corev1.ConfigMap) DashboardRow {
	row := DashboardRow{Namespace: config.Namespace, Name: config.Name, Title: config.Name}
	if _, b, err := boardOf(config.Data); err == nil && b.Title != "" {
		row.Title = b.Title
	}
	return row
}

func (c *Console) serveDashboards(w http.ResponseWriter, r *http.Request, s *session) {
	page, err := c.dashboards(r, s)
	c.answer(w, r, page, err)
}

// dashboards are those of all namespaces, or of those namespaces that the person may read.
func (c *Console) dashboards(r *http.Request, s *session) (*DashboardPage, error) {
	hub, err := c.desk(r, s, "").Connect()
	if err != nil {
		return nil, err
	}
	page := &DashboardPage{Rows: []DashboardRow{}}
	err = page.list(r.Context(), hub, "")
	if apierrors.IsForbidden(err) {
		err = c.eachNamespace(r.Context(), func(namespace string) error {
			if err := page.list(r.Context(), hub, namespace); !apierrors.IsForbidden(err) {
				return err
			}
			return nil
		})
	}
	if err != nil {
		return nil, ofHub(err)
	}
	slices.SortFunc(page.Rows, func(a, b DashboardRow) int {
		return strings.Compare(a.Title+"\x00"+a.Namespace+"/"+a.Name, b.Title+"\x00"+b.Namespace+"/"+b.Name)
	})
	if len(page.Rows) > maxDashboards {
		page.Rows, page.More = page.Rows[:maxDashboards], fmt.Sprintf("there are more than %d: `kubectl get configmaps -A -l %s` lists all", maxDashboards, dashboardLabel)
	}
	return page, nil
}

func (p *DashboardPage) list(ctx context.Context, hub *hubclient.Hub, namespace string) error {
	var found corev1.ConfigMapList
	if err := hub.List(ctx, &found, client.InNamespace(namespace), client.HasLabels{dashboardLabel}, client.Limit(maxDashboards+1)); err != nil {
		return err
	}
	for i := range found.Items {
		p.Rows = append(p.Rows, rowOfBoard(&found.Items[i]))
	}
	return nil
}

// eachNamespace calls look with each namespace of the hub that has something of Umbel's, and with default.
func (c *Console) eachNamespace(ctx context.Context, look func(string) error) error {
	var placements v1alpha1.PlacementList
	var packages v1alpha1.PackageList
	for _, list := range []client.ObjectList{&placements, &packages} {
		if err := c.cache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return err
		}
	}
	names := []string{"default", v1alpha1.SystemNamespace}
	for i := range placements.Items {
		names = append(names, placements.Items[i].Namespace)
	}
	for i := range packages.Items {
		names = append(names, packages.Items[i].Namespace)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, name := range names[:min(len(names), maxNamespaces)] {
		if err := look(name); err != nil {
			return err
		}
	}
	return nil
}

func (c *Console) serveDashboard(w http.ResponseWriter, r *http.Request, s *session) {
	board, err := c.dashboard(r, s, client.ObjectKey{Namespace: r.PathValue("ns"), Name: r.PathValue("name")})
	c.answer(w, r, board, err)
}

// dashboard is one of them, as it is drawn.
func (c *Console) dashboard(r *http.Request, s *session, key client.ObjectKey) (*Dashboard, error) {
	p, err := c.papersOf(r, s, "configmaps", key)
	if err != nil {
		return nil, err
	}
	now, err := p.read(r.Context())
	if err != nil {
		return nil, err
	}
	if _, is := now.GetLabels()[dashboardLabel]; !is {
		return nil, refused(http.StatusNotFound, "ConfigMap %s has no label %s, by which a dashboard is known", key, dashboardLabel)
	}
	d := &Dashboard{DashboardRow: DashboardRow{Namespace: key.Namespace, Name: key.Name, Title: key.Name}, Minutes: dashboardMinutes, Panels: []DashboardPanel{}}
	data, _, _ := unstructured.NestedStringMap(now.Object, "data")
	field, b, err := boardOf(data)
	if d.Field = field; err != nil {
		d.Problem = err.Error()
	} else {
		d.Minutes, d.Panels = b.minutes(), b.panels()
		if b.Title != "" {
			d.Title = b.Title
		}
	}
	remove, err := p.removal(r.Context(), now, "It goes from here, and from every Grafana that reads it there. What it shows stays measured.")
	d.Deeds = []Deed{remove}
	return d, err
}

// removal is the deed that deletes an object, as long as it is the one that was seen.
func (p *papers) removal(ctx context.Context, now *unstructured.Unstructured, means string) (Deed, error) {
	d := Deed{Name: "delete", Title: "Delete", Done: "deleted", Means: means, Generation: now.GetGeneration(), Deletes: string(now.GetUID())}
	d.Path = "/api/" + p.of.kind.Version + "/namespaces/" + p.key.Namespace + "/" + p.of.resource + "/" + p.key.Name
	d.Kubectl = fmt.Sprintf("kubectl delete %s %s%s", p.of.name(), p.key.Name, p.where())
	var err error
	d.Not, err = p.mayNot(ctx, "delete")
	return d, err
}
