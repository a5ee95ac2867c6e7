package query

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/settings"
)

// TestHolds: a condition is true of the clusters that it is asked about, by the hub's own store and by one outside; what is no condition
// is neither true nor false.
func TestHolds(t *testing.T) {
	for _, store := range []string{"its own", "outside"} {
		t.Run(store, func(t *testing.T) {
			a := newAPI(t)
			if store == "outside" {
				behind := newAPI(t)
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { behind.Query(w, r, nil) }))
				t.Cleanup(server.Close)
				said, err := settings.Read(map[string][]byte{"backend.yml": []byte("url: " + server.URL)})
				if err != nil {
					t.Fatal(err)
				}
				if err := a.Apply(said); err != nil {
					t.Fatal(err)
				}
				a.Queryable = nil // it is not asked
			}
			for _, c := range []struct {
				query    string
				clusters string
				want     bool
				err      string
			}{
				{query: "up == 1", clusters: "a b", want: true},
				{query: "up == 1", clusters: "c"},
				{query: "up == 0", clusters: "c", want: true}, // the sample is 0, and it is there
				{query: "up == 0", clusters: "a b"},
				{query: `up{cluster="c"} == 0`, clusters: "a"}, // whatever the query says
				{query: "sum(up) == 2", clusters: "a b c", want: true},
				{query: "sum(up) == 2", clusters: "a"},
				{query: "sum(rate(requests_total[5m])) < 10", clusters: "a b", want: true},
				{query: "sum(rate(requests_total[5m])) < 3", clusters: "a b"},
				{query: "nothing < 1", clusters: "a"}, // what is not measured is not good
				{query: "absent(nothing)", clusters: "a", want: true},
				{query: "scalar(sum(up)) >= bool 2", clusters: "a b", want: true},
				{query: "scalar(sum(up)) >= bool 2", clusters: "a"},
				{query: "scalar(nothing)", clusters: "a"}, // is NaN
				{query: "((up == bool 7))", clusters: "a", err: "leave bool out"},
				{query: "up[5m]", clusters: "a", err: "gives a range vector, and is no condition"},
				{query: "up ==", clusters: "a", err: "cannot be read"},
				{query: "up == on() group_left() up", clusters: "a b", err: "many-to-many"},
				{query: "up == 1", clusters: "", err: "no cluster is named"},
			} {
				var clusters []v1alpha1.ClusterName
				for _, name := range strings.Fields(c.clusters) {
					clusters = append(clusters, v1alpha1.ClusterName(name))
				}
				got, err := a.Holds(t.Context(), c.query, clusters)
				if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("%s of %q: %t, %v; want %t, %q", c.query, c.clusters, got, err, c.want, c.err)
				}
			}
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if got, err := a.Holds(ended, "up == 1", []v1alpha1.ClusterName{"a"}); got || err == nil {
				t.Errorf("whoever has no time left is told %t, %v", got, err)
			}
		})
	}
}
