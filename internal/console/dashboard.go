package console

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	// dashboardLabel is what Grafana's sidecar knows a ConfigMap by that has dashboards. Any value will do.
	dashboardLabel = "grafana_dashboard"
	// dashboardMinutes is how far back a dashboard looks that does not say.
	dashboardMinutes = 60
	// maxPanels is how many panels of a dashboard are drawn.
	maxPanels = 40
)

// DashboardPanel is a graph of a dashboard.
type DashboardPanel struct {
	Title string `json:"title"`
	Query string `json:"query"`
	// Unit is Grafana's name for what values are in, such as bytes.
	Unit string `json:"unit"`
	// Not says why it is not drawn here; empty when it is.
	Not string `json:"not,omitempty"`
}

// board is a dashboard as Grafana writes it, as far as it is read here.
type board struct {
	Title string `json:"title"`
	Time  struct {
		From string `json:"from"`
	} `json:"time"`
	Panels []boardPanel `json:"panels"`
}

type boardPanel struct {
	Title   string `json:"title"`
	Kind    string `json:"type"`
	Targets []struct {
		Expr string `json:"expr"`
		Hide bool   `json:"hide"`
	} `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	// Panels are those of a row that is folded.
	Panels []boardPanel `json:"panels"`
}

// boardOf is the dashboard of a ConfigMap, and under which of its fields that is: the first, of several.
func boardOf(data map[string]string) (field string, b board, err error) {
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if strings.HasSuffix(name, ".json") {
			field = name
			break
		}
	}
	if field == "" {
		return "", b, fmt.Errorf("data: it has no field that ends in .json, as a dashboard has")
	}
	if err := json.Unmarshal([]byte(data[field]), &b); err != nil {
		return field, b, fmt.Errorf("data[%s] is no dashboard in JSON: %w", field, err)
	}
	return field, b, nil
}

// span is how far back Grafana's dashboards say that they look.
var span = regexp.MustCompile(`^now-(\d{1,5})([smhdw])$`)

// minutes is how far back a dashboard looks.
func (b *board) minutes() int {
	found := span.FindStringSubmatch(b.Time.From)
	if found == nil {
		return dashboardMinutes
	}
	n, _ := strconv.Atoi(found[1]) // it is digits
	seconds := n * map[string]int{"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}[found[2]]
	return min(max(seconds/60, 1), 31*24*60)
}

// panels are those that it has, in their order, rows opened.
func (b *board) panels() []DashboardPanel {
	found := []DashboardPanel{}
	var add func(of []boardPanel)
	add = func(of []boardPanel) {
		for i := range of {
			if len(found) == maxPanels {
				return
			}
			if of[i].Kind == "row" {
				add(of[i].Panels)
				continue
			}
			found = append(found, of[i].drawn(b.minutes()))
		}
	}
	add(b.Panels)
	return found
}

// filledIn are what Grafana puts into queries by itself, and variable is what is left that people choose there.
var (
	filledIn = regexp.MustCompile(`\$(?:\{)?(__rate_interval|__interval|__range)\b(?:\})?`)
	variable = regexp.MustCompile(`\$\{?([A-Za-z_]\w*)`)
)

func (p *boardPanel) drawn(minutes int) DashboardPanel {
	d := DashboardPanel{Title: cmp.Or(p.Title, "Untitled"), Unit: p.FieldConfig.Defaults.Unit}
	queries := 0
	for _, target := range p.Targets {
		if target.Expr == "" || target.Hide {
			continue
		}
		if queries++; queries == 1 {
			d.Query = filledIn.ReplaceAllStringFunc(target.Expr, func(found string) string {
				if strings.Contains(found, "__range") {
					return fmt.Sprintf("%dm", minutes)
				}
				return "5m"
			})
		}
	}
	asks := variable.FindStringSubmatch(d.Query)
	switch {
	case queries == 0:
		d.Not = fmt.Sprintf("it has no query of PromQL: Grafana shows it, as a panel of type %s", cmp.Or(p.Kind, "unknown"))
	case asks != nil:
		d.Not = fmt.Sprintf("its query asks for $%s, which people choose in Grafana", asks[1])
	case queries > 1:
		d.Title += fmt.Sprintf(" (the first of %d queries)", queries)
	}
	return d
}
