package console

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/measured"
)

// AlertRow is an alert of the hub's rules.
type AlertRow struct {
	Name     string `json:"name"`
	Severity string `json:"severity"`
	State    string `json:"state"`
	// Cluster is which one it is about; empty when it is about the fleet, or the hub.
	Cluster string `json:"cluster,omitempty"`
	// Package is NAMESPACE/NAME of the one that it is about.
	Package     string            `json:"package,omitempty"`
	Since       *metav1.Time      `json:"since,omitempty"`
	Summary     string            `json:"summary"`
	Description string            `json:"description,omitempty"`
	Command     string            `json:"command,omitempty"`
	Runbook     string            `json:"runbook,omitempty"`
	Labels      map[string]string `json:"labels"`
	// Rule is the PrometheusRule that it comes from, and Query what that looks for.
	Rule  string `json:"rule"`
	Query string `json:"query"`
}

// AlertPage is a part of the alerts that match.
type AlertPage struct {
	Rows  []AlertRow `json:"rows"`
	From  int        `json:"from"`
	Total int        `json:"total"`
	All   int        `json:"all"`
	// Firing is how many of All fire, and Rules how many rules look.
	Firing int     `json:"firing"`
	Rules  int     `json:"rules"`
	Facets []Facet `json:"facets"`
}

// severities are those that are known, the worst first.
var severities = []string{"critical", "page", "error", "warning", "info", "none"}

func alertRow(a *measured.Alert) AlertRow {
	row := AlertRow{
		Name: a.Name, Severity: cmp.Or(strings.ToLower(a.Labels["severity"]), "none"), State: a.State, Cluster: a.Labels["cluster"],
		Summary:     cmp.Or(a.Annotations["summary"], a.Annotations["description"], a.Annotations["message"], a.Name+" fires"),
		Description: a.Annotations["description"], Command: a.Annotations["command"], Labels: map[string]string{}, Rule: a.Object, Query: a.Query,
	}
	if row.Description == row.Summary {
		row.Description = ""
	}
	if at, err := url.Parse(a.Annotations["runbook_url"]); err == nil && (at.Scheme == "https" || at.Scheme == "http") { // a page of somebody's, and no script
		row.Runbook = at.String()
	}
	name := a.Labels["package"]
	if about := a.Labels["about"]; a.Labels["rollout"] != "" && about != "Kubernetes" { // which is no package
		name = about
	}
	if name != "" {
		row.Package = string(v1alpha1.KeyOf(cmp.Or(a.Labels["namespace"], metav1.NamespaceDefault), name))
	}
	for key, value := range a.Labels {
		if key != "alertname" && key != "severity" && key != "cluster" {
			row.Labels[key] = value
		}
	}
	if !a.Since.IsZero() {
		row.Since = a.Since.DeepCopy()
	}
	return row
}

// says says whether a row says all words.
func (a *AlertRow) says(words []string) bool {
	text := strings.ToLower(strings.Join([]string{a.Name, a.Severity, a.State, a.Cluster, a.Summary, a.Description, a.Rule}, " "))
	for key, value := range a.Labels {
		text += " " + strings.ToLower(key+"="+value)
	}
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
}

// has says what a row has of a facet.
func (a *AlertRow) has(facet string) string {
	return map[string]string{"severity": a.Severity, "state": a.State, "cluster": a.Cluster, "alert": a.Name}[facet]
}

// alertFacets are what alerts are filtered by.
var alertFacets = []string{"severity", "state", "alert", "cluster"}

func (c *Console) serveAlerts(w http.ResponseWriter, r *http.Request, s *session) {
	page, err := c.alertPage(r, s)
	c.answer(w, r, page, err)
}

func (c *Console) alertPage(r *http.Request, s *session) (*AlertPage, error) {
	told, err := c.alerts(r, s)
	if err != nil {
		return nil, err
	}
	return pageOf(told, r.URL.Query()), nil
}

// alerts asks the hub's rules as the person of a session.
func (c *Console) alerts(r *http.Request, s *session) (told measured.Alerts, err error) {
	names, err := c.names(r.Context(), s)
	if err != nil {
		return told, err
	}
	f := c.desk(r, s, "")
	hub, err := f.Connect()
	if err != nil {
		return told, err
	}
	asker, err := measured.New(r.Context(), f, hub)
	if err != nil {
		return told, err
	}
	told, err = asker.Alerts(r.Context(), names)
	return told, ofHub(err)
}

// names are the clusters that somebody may list; none when they may not.
func (c *Console) names(ctx context.Context, s *session) ([]v1alpha1.ClusterName, error) {
	clusters, err := c.clusters(ctx, s)
	if err != nil {
		return nil, err
	}
	names := make([]v1alpha1.ClusterName, len(clusters))
	for i := range clusters {
		names[i] = v1alpha1.ClusterName(clusters[i].Name)
	}
	return names, nil
}

// pageOf is the part of the alerts that is asked for.
func pageOf(told measured.Alerts, query url.Values) *AlertPage {
	page := &AlertPage{Rows: []AlertRow{}, All: len(told.Alerts), Rules: told.Rules}
	chosen := selectionOf(query)
	counts := map[string]map[string]int{}
	for _, facet := range alertFacets {
		counts[facet] = map[string]int{}
	}
	var rows []AlertRow
	for i := range told.Alerts {
		row := alertRow(&told.Alerts[i])
		if row.State == measured.Firing {
			page.Firing++
		}
		if !row.says(chosen.words) {
			continue
		}
		missed, misses := "", 0
		for facet, values := range chosen.facets {
			if !slices.Contains(values, row.has(facet)) {
				missed, misses = facet, misses+1
			}
		}
		for _, facet := range alertFacets {
			if value := row.has(facet); value != "" && (misses == 0 || misses == 1 && missed == facet) {
				counts[facet][value]++
			}
		}
		if misses == 0 {
			rows = append(rows, row)
		}
	}
	for _, facet := range alertFacets {
		page.Facets = append(page.Facets, facetOf(facet, counts[facet], chosen.facets[facet]))
	}
	slices.SortStableFunc(rows, worseFirst)
	from, to := window(query, len(rows))
	page.From, page.Total = from, len(rows)
	page.Rows = append(page.Rows, rows[from:to]...)
	return page
}

// worseFirst has what fires before what may, the worst first, and of those what began last.
func worseFirst(a, b AlertRow) int {
	rank := func(row *AlertRow) int {
		if at := slices.Index(severities, row.Severity); at >= 0 {
			return at
		}
		return len(severities)
	}
	return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(rank(&a), rank(&b)), -compareTimes(a.Since, b.Since), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Cluster, b.Cluster))
}
