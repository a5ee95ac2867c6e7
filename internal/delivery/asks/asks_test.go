package asks_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/delivery/asks"
	"umbel.dev/umbel/internal/delivery/bundle"
)

var (
	database = bundle.Key{Group: "apps", Kind: "StatefulSet", Namespace: "shop", Name: "db"}
	schema   = bundle.Key{Group: "batch", Kind: "Job", Namespace: "shop", Name: "schema"}
	web      = bundle.Key{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}
	shop     = bundle.Key{Kind: "Namespace", Name: "shop"}
)

func TestOf(t *testing.T) {
	for _, tc := range []struct {
		reason      string
		annotations map[string]any
		want        asks.Asks
		err         string
	}{
		{reason: "nothing is asked for", annotations: map[string]any{"other": "x"}},
		{reason: "drift is reported", annotations: map[string]any{"umbel.dev/drift": "report"}, want: asks.Asks{Drift: asks.DriftReport}},
		{reason: "drift is repaired, whatever the package says", annotations: map[string]any{"umbel.dev/drift": "repair"}, want: asks.Asks{Drift: asks.DriftRepair}},
		{reason: "as Config Sync has it", annotations: map[string]any{"client.lifecycle.config.k8s.io/mutation": "ignore"}, want: asks.Asks{Drift: asks.DriftIgnore}},
		{
			reason: "our word goes before that of others",
			annotations: map[string]any{
				"umbel.dev/drift": "report", "client.lifecycle.config.k8s.io/mutation": "ignore",
			},
			want: asks.Asks{Drift: asks.DriftReport},
		},
		{reason: "a word that nobody knows", annotations: map[string]any{"umbel.dev/drift": "Report"}, err: `annotation umbel.dev/drift: "Report" has to be repair, report or ignore`},
		{
			reason:      "what comes first, in any order and once",
			annotations: map[string]any{"umbel.dev/depends-on": " StatefulSet.apps shop/db,Namespace shop , StatefulSet.apps shop/db", "umbel.dev/depends-on-timeout": "90s"},
			want:        asks.Asks{DependsOn: []bundle.Key{shop, database}, Timeout: 90 * time.Second},
		},
		{
			reason:      "as Config Sync has it, with the core group",
			annotations: map[string]any{"config.kubernetes.io/depends-on": "apps/namespaces/shop/StatefulSet/db,/Namespace/shop"},
			want:        asks.Asks{DependsOn: []bundle.Key{shop, database}},
		},
		{reason: "a target without a kind", annotations: map[string]any{"umbel.dev/depends-on": "shop/db"}, err: `annotation umbel.dev/depends-on: "shop/db" has to be KIND[.GROUP] [NAMESPACE/]NAME`},
		{reason: "a comma too many", annotations: map[string]any{"umbel.dev/depends-on": "Namespace shop,"}, err: `annotation umbel.dev/depends-on: "" has to be`},
		{reason: "half a path", annotations: map[string]any{"config.kubernetes.io/depends-on": "apps/StatefulSet"}, err: `annotation config.kubernetes.io/depends-on: "apps/StatefulSet" has to be GROUP`},
		{reason: "more targets than an object needs", annotations: map[string]any{"umbel.dev/depends-on": strings.Repeat("Namespace a,", 64) + "Namespace a"}, err: "it names 65 objects, the limit is 64"},
		{reason: "a wait that never ends", annotations: map[string]any{"umbel.dev/depends-on-timeout": "never"}, err: `annotation umbel.dev/depends-on-timeout: "never" has to be a duration`},
		{reason: "no wait at all", annotations: map[string]any{"umbel.dev/depends-on-timeout": "0s"}, err: `"0s" has to be a duration`},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			got, err := asks.Of(tc.annotations)
			if fmt.Sprint(err) != "<nil>" && tc.err == "" || !strings.Contains(fmt.Sprint(err), tc.err) {
				t.Errorf("got error %v, want %q", err, tc.err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestArrange(t *testing.T) {
	there := func(keys ...bundle.Key) func(bundle.Key) bool {
		return func(key bundle.Key) bool {
			for _, each := range keys {
				if each == key {
					return true
				}
			}
			return false
		}
	}
	after := func(keys ...bundle.Key) asks.Asks { return asks.Asks{DependsOn: keys} }
	for _, tc := range []struct {
		reason string
		wishes map[bundle.Key]asks.Asks
		want   map[bundle.Key]int
		wrong  map[bundle.Key]string
	}{
		{
			reason: "one after the other", wishes: map[bundle.Key]asks.Asks{web: after(schema), schema: after(database)},
			want: map[bundle.Key]int{web: 2, schema: 1, database: 0},
		},
		{
			reason: "a target in the namespace of whoever names it", wishes: map[bundle.Key]asks.Asks{web: after(bundle.Key{Group: "batch", Kind: "Job", Name: "schema"})},
			want: map[bundle.Key]int{web: 1},
		},
		{
			reason: "what is not there is no order", wishes: map[bundle.Key]asks.Asks{web: after(bundle.Key{Kind: "ConfigMap", Namespace: "shop", Name: "nope"}), schema: after(database)},
			want:  map[bundle.Key]int{web: 0, schema: 1},
			wrong: map[bundle.Key]string{web: "it depends on ConfigMap shop/nope, which is not in this package"},
		},
		{
			reason: "a cycle is named, and holds nobody else up", wishes: map[bundle.Key]asks.Asks{web: after(schema), schema: after(web), database: after(shop)},
			want: map[bundle.Key]int{database: 1},
			wrong: map[bundle.Key]string{
				web:    "it depends on itself: Deployment.apps shop/web → Job.batch shop/schema → Deployment.apps shop/web",
				schema: "it depends on itself: Job.batch shop/schema → Deployment.apps shop/web → Job.batch shop/schema",
			},
		},
		{
			reason: "nobody comes after himself", wishes: map[bundle.Key]asks.Asks{web: after(web)},
			wrong: map[bundle.Key]string{web: "it depends on itself"},
		},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			order, wrong := asks.Arrange(tc.wishes, there(database, schema, web, shop))
			for key, level := range tc.want {
				if got := order.Level(key); got != level {
					t.Errorf("%s is at level %d, want %d", key, got, level)
				}
			}
			if len(wrong) != len(tc.wrong) {
				t.Errorf("got errors %v, want %v", wrong, tc.wrong)
			}
			for key, text := range tc.wrong {
				if !strings.Contains(fmt.Sprint(wrong[key]), text) {
					t.Errorf("%s: got %v, want %q", key, wrong[key], text)
				}
			}
		})
	}
}

// FuzzOf: whatever an annotation says, it is read or refused; what was read is within its bounds, and an order is made of it
// in which everything comes after what it depends on.
func FuzzOf(f *testing.F) {
	f.Add("report", "StatefulSet.apps shop/db, Namespace shop", "apps/namespaces/shop/Deployment/web", "10m")
	f.Add("", "a b/c/d", "////", "-1s")
	f.Fuzz(func(t *testing.T, drift, ours, theirs, wait string) {
		got, err := asks.Of(map[string]any{
			"umbel.dev/drift": drift, "umbel.dev/depends-on": ours, "config.kubernetes.io/depends-on": theirs, "umbel.dev/depends-on-timeout": wait,
		})
		if err != nil {
			return
		}
		if got.Wait() <= 0 || got.Wait() > 24*time.Hour {
			t.Errorf("it waits for %s", got.Wait())
		}
		order, wrong := asks.Arrange(map[bundle.Key]asks.Asks{web: got}, func(bundle.Key) bool { return true })
		if len(wrong) > 0 {
			return
		}
		for _, before := range order.After(web) {
			if before.Kind == "" || before.Name == "" || order.Level(before) >= order.Level(web) {
				t.Errorf("%+v at %d is to come before level %d", before, order.Level(before), order.Level(web))
			}
		}
	})
}
