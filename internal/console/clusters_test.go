package console

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/cli/view"
)

// TestFacets: each facet is counted among what matches the others, so that it says what choosing another value would give.
func TestFacets(t *testing.T) {
	row := func(name string, health view.Health, env string) ClusterRow {
		return ClusterRow{Name: name, Health: health, Labels: map[string]string{"env": env}}
	}
	rows := []ClusterRow{row("a", view.Healthy, "prod"), row("b", view.NotReady, "prod"), row("c", view.Healthy, "dev"), row("other", view.Healthy, "dev")}
	for _, c := range []struct {
		reason string
		query  url.Values
		match  []string
		want   map[string][]Count
	}{
		{"nothing is chosen", url.Values{}, []string{"a", "b", "c", "other"}, map[string][]Count{"health": {{"Ready", 3}, {"NotReady", 1}}, "label:env": {{"dev", 2}, {"prod", 2}}}},
		{
			"one value", url.Values{"f.label:env": {"prod"}}, []string{"a", "b"},
			map[string][]Count{"health": {{"NotReady", 1}, {"Ready", 1}}, "label:env": {{"dev", 2}, {"prod", 2}}},
		},
		{
			"two facets", url.Values{"f.label:env": {"prod"}, "f.health": {"Ready"}}, []string{"a"},
			map[string][]Count{"health": {{"NotReady", 1}, {"Ready", 1}}, "label:env": {{"dev", 2}, {"prod", 1}}},
		},
		{
			"words as well", url.Values{"f.health": {"Ready"}, "q": {"ENV=dev oth"}}, []string{"other"},
			map[string][]Count{"health": {{"Ready", 1}}, "label:env": {{"dev", 1}}},
		},
		{
			"a value that nothing has stays in sight", url.Values{"f.health": {"Hibernated"}}, nil,
			map[string][]Count{"health": {{"Ready", 3}, {"NotReady", 1}, {"Hibernated", 0}}, "label:env": {}},
		},
	} {
		s := selectionOf(c.query)
		var match []string
		for i := range rows {
			if s.matches(&rows[i]) {
				match = append(match, rows[i].Name)
			}
		}
		if diff := cmp.Diff(c.match, match); diff != "" {
			t.Errorf("%s: what matches (-want +got):\n%s", c.reason, diff)
		}
		got := map[string][]Count{}
		for _, facet := range s.count(rows) {
			if _, asked := c.want[facet.Name]; asked {
				got[facet.Name] = facet.Values
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: facets (-want +got):\n%s", c.reason, diff)
		}
	}
}
