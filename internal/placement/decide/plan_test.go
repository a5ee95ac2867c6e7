package decide

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

func fleet() []Cluster {
	return []Cluster{
		member("prod-us", "env=prod", "region=us").property("cpu", "64").property("zone.example.com", "a"),
		member("waits", "env=prod", "region=eu").with(func(c *Cluster) { c.Standing = Outside }),
		member("prod-eu", "env=prod", "region=eu").property("cpu", "1500m").with(func(c *Cluster) { c.KubernetesVersion = "v1.35.4-gke.100" }),
		member("dev", "env=dev").property("cpu", "many"),
		member("prod-old", "env=prod", "region=eu").with(func(c *Cluster) { c.Standing = Leaving }),
		{Name: "silent"},
	}
}

func in(key string, operator metav1.LabelSelectorOperator, values ...string) v1alpha1.PlacementSpec {
	return v1alpha1.PlacementSpec{ClusterSelector: metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: operator, Values: values}}}}
}

func fields(field string, operator v1alpha1.FieldOperator, values ...string) v1alpha1.PlacementSpec {
	return v1alpha1.PlacementSpec{Fields: []v1alpha1.FieldRequirement{{Field: field, Operator: operator, Values: values}}}
}

func expressed(expressions ...string) v1alpha1.PlacementSpec {
	return v1alpha1.PlacementSpec{Expressions: expressions}
}

func TestWhoFits(t *testing.T) {
	for _, tc := range []struct {
		reason string
		spec   v1alpha1.PlacementSpec
		want   string
	}{
		{"an empty selector selects every cluster but the one that leaves and those that were not let in", v1alpha1.PlacementSpec{}, "dev prod-eu prod-us silent"},
		{"by label", v1alpha1.PlacementSpec{ClusterSelector: selecting("env=prod")}, "prod-eu prod-us"},
		{"by expression", in("region", metav1.LabelSelectorOpIn, "eu", "asia"), "prod-eu"},
		{"NotIn takes clusters without the label, as everywhere in Kubernetes", in("env", metav1.LabelSelectorOpNotIn, "prod"), "dev silent"},
		{"nothing matches", in("region", metav1.LabelSelectorOpIn, "moon"), ""},

		{"by name", fields("name", v1alpha1.FieldIn, "dev", "silent", "nobody"), "dev silent"},
		{"by all other names", fields("name", v1alpha1.FieldNotIn, "dev"), "prod-eu prod-us silent"},
		{"a version, compared as one; whoever has not said his is undecided", fields("kubernetesVersion", v1alpha1.FieldAtLeast, "v1.36"), "dev prod-us (silent)"},
		{"what a vendor adds to a version does not count", fields("kubernetesVersion", v1alpha1.FieldAtLeast, "1.35.4"), "dev prod-eu prod-us (silent)"},
		{"below", fields("kubernetesVersion", v1alpha1.FieldBelow, "1.36"), "prod-eu (silent)"},
		{"an agent's version", fields("agentVersion", v1alpha1.FieldIn, "v0.3.0"), "dev prod-eu prod-us (silent)"},
		{"a property", fields("properties.zone.example.com", v1alpha1.FieldIn, "a"), "prod-us (silent)"},
		{"no such property", fields("properties.zone.example.com", v1alpha1.FieldDoesNotExist), "dev prod-eu (silent)"},
		{"any such property", fields("properties.cpu", v1alpha1.FieldExists), "dev prod-eu prod-us (silent)"},
		{"quantities; what is none cannot be compared", fields("properties.cpu", v1alpha1.FieldAtLeast, "2"), "prod-us (dev silent)"},

		{"CEL over labels", expressed("cluster.labels.env == 'prod'"), "prod-eu prod-us (silent)"},
		{"CEL that asks first", expressed("'region' in cluster.labels && cluster.labels.region.startsWith('e')"), "prod-eu"},
		{"all have to be true", expressed("'region' in cluster.labels", "cluster.name.endsWith('us')"), "prod-us"},
		{"CEL over versions", expressed("semver(cluster.version, true).isLessThan(semver('1.36.0'))"), "prod-eu (silent)"},
		{"CEL over quantities; what errs says nothing", expressed("quantity(cluster.properties.cpu).isGreaterThan(quantity('2'))"), "prod-us (dev silent)"},
		{"false is more than an error", expressed("cluster.labels.nope == 'x'", "cluster.name == 'dev'"), "(dev)"},
		{"optional values", expressed("cluster.labels[?'region'].orValue('eu') == 'eu'"), "dev prod-eu silent"},
		{"what costs too much says nothing", expressed("cluster.name != 'dev' || [1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, a + b + c + d > 0))))"), "prod-eu prod-us silent (dev)"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			if got := compiled(t, tc.spec).Decide(of(fleet()...), Before{}, noon).String(); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	scored := func(s v1alpha1.Score) v1alpha1.PlacementSpec {
		return v1alpha1.PlacementSpec{NumberOfClusters: number(1), Scores: []v1alpha1.Score{s}}
	}
	for _, tc := range []struct {
		reason string
		spec   v1alpha1.PlacementSpec
		want   string
	}{
		{"an unknown operator", in("region", "Near", "eu"), `spec.clusterSelector.matchExpressions[0].operator: Invalid value: "Near"`},
		{"In without values", in("region", metav1.LabelSelectorOpIn), "spec.clusterSelector.matchExpressions[0].values: Required value"},
		{"Exists with values", in("region", metav1.LabelSelectorOpExists, "eu"), "spec.clusterSelector.matchExpressions[0].values: Forbidden"},
		{"a value that no label can have", v1alpha1.PlacementSpec{ClusterSelector: selecting("env=not a value!")}, `spec.clusterSelector.matchLabels[env]: Invalid value: "not a value!"`},
		{"a key that no label can have", v1alpha1.PlacementSpec{ClusterSelector: selecting("-env=prod")}, `spec.clusterSelector.matchLabels[-env]: Invalid value: "-env"`},

		{"no such field", fields("phase", v1alpha1.FieldIn, "x"), `spec.fields[0].field: Unsupported value: "phase"`},
		{"no such operator", fields("name", "Like", "x"), `spec.fields[0].operator: Unsupported value: "Like"`},
		{"a property without a name", fields("properties.", v1alpha1.FieldExists), `spec.fields[0].field: Unsupported value: "properties."`},
		{"no values", fields("name", v1alpha1.FieldIn), "spec.fields[0].values: Required value: operator In takes at least one"},
		{"too many values", fields("kubernetesVersion", v1alpha1.FieldBelow, "1", "2"), "spec.fields[0].values: Invalid value"},
		{"values that are not asked for", fields("properties.x", v1alpha1.FieldExists, "1"), "spec.fields[0].values: Forbidden: operator Exists takes none"},
		{"no version", fields("kubernetesVersion", v1alpha1.FieldAtLeast, "new"), `spec.fields[0].values[0]: Invalid value: "new": is no version such as v1.36.3`},
		{"no quantity", fields("properties.cpu", v1alpha1.FieldAtLeast, "many"), `spec.fields[0].values[0]: Invalid value: "many": is no quantity`},
		{"names have no order", fields("name", v1alpha1.FieldBelow, "m"), "spec.fields[0].operator: Invalid value"},

		{"what does not parse, with line and column", expressed("true", "cluster.labels.env ==\n  &&"), "spec.expressions[1]: Invalid value: \"cluster.labels.env ==\\n  &&\": line 2, column 3: Syntax error"},
		{"a variable that there is not", expressed("cluster.phase == 'x'"), `spec.expressions[0]: Invalid value: "cluster.phase == 'x'": line 1, column 1: undeclared reference`},
		{"types that do not go together", expressed("cluster.name > 3"), `spec.expressions[0]: Invalid value: "cluster.name > 3": line 1, column 14: found no matching overload`},
		{"no answer", expressed("cluster.name"), `spec.expressions[0]: Invalid value: "cluster.name": has to give true or false, and gives string`},
		{"a regular expression that cannot be read", expressed("cluster.name.matches('(')"), "spec.expressions[0]: Invalid value"},
		{"points that are none", scored(v1alpha1.Score{Expression: "cluster.name"}), `spec.scores[0].expression: Invalid value: "cluster.name": has to give a number, true or false, and gives string`},
		{"a score's selector", scored(v1alpha1.Score{ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "?"}}}), "spec.scores[0].clusterSelector.matchLabels[a]: Invalid value"},
		{"a label that none can be", v1alpha1.PlacementSpec{NumberOfClusters: number(1), Spread: &v1alpha1.Spread{Label: "a b", MaxSkew: number(1)}}, `spec.spread.label: Invalid value: "a b"`},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			_, err := Compile(placed(tc.spec))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want one that says %q", err, tc.want)
			}
		})
	}
}

// TestNumbersWithoutEnd: what a member says cannot keep the hub busy.
func TestNumbersWithoutEnd(t *testing.T) {
	spec := fields("properties.cpu", v1alpha1.FieldAtLeast, "2")
	for _, value := range []string{"1e999999999", "1E+999999999", "-1e-0999999999"} {
		seen := See(&v1alpha1.MemberCluster{
			ObjectMeta: metav1.ObjectMeta{Name: "a"},
			Status:     v1alpha1.MemberClusterStatus{KubernetesVersion: "v1.36.0", Properties: []v1alpha1.MemberProperty{{Name: "cpu", Value: value}}},
		})
		for _, c := range []Cluster{seen, member("a").property("cpu", value)} {
			if got := compiled(t, spec).Decide(of(c), Before{}, noon); len(got.Clusters()) > 0 {
				t.Errorf("%s: got %s", value, got)
			}
		}
		if got := compiled(t, expressed("quantity(cluster.properties.cpu).isGreaterThan(quantity('2'))")).Decide(of(seen), Before{}, noon).String(); got != "(a)" {
			t.Errorf("%s in an expression: got %q", value, got)
		}
		if _, err := Compile(placed(fields("properties.cpu", v1alpha1.FieldAtLeast, value))); err == nil {
			t.Errorf("%s in a spec is taken", value)
		}
	}
	for _, value := range []string{"1e10", "12E", "3Ei", "edge", "1e005"} {
		if endless(value) {
			t.Errorf("%s has no end", value)
		}
	}
}

// TestWhoStays tells what becomes of a cluster that is selected and does not meet the spec any more.
func TestWhoStays(t *testing.T) {
	five := int64(300)
	held := Before{Generation: 1, Clusters: []v1alpha1.ClusterName{"prod-eu"}}
	prod := member("prod-eu", "env=prod").property("tier", "gold")
	spec := v1alpha1.PlacementSpec{
		ClusterSelector: selecting("env=prod"),
		Fields:          []v1alpha1.FieldRequirement{{Field: "properties.tier", Operator: v1alpha1.FieldIn, Values: []string{"gold"}}},
		Expressions:     []string{"cluster.labels.env != 'paused'", "cluster.version < 'v1.37' && cluster.properties.tier != ''"},
		Tolerations: []v1alpha1.Toleration{
			{Key: "known", Operator: v1alpha1.TolerationExists},
			{Key: "slow", Operator: v1alpha1.TolerationExists, Effect: v1alpha1.TaintEvict, TolerationSeconds: &five},
		},
	}
	for _, tc := range []struct {
		reason  string
		cluster Cluster
		before  Before
		want    string
	}{
		{"it fits", prod, held, "prod-eu"},
		{"it is new, and fits", prod, Before{}, "prod-eu"},
		{"a person's label counts at once", member("prod-eu", "env=dev").property("tier", "gold"), held, ""},
		{"it is being deleted", prod.with(func(c *Cluster) { c.Standing = Leaving }), held, ""},
		{"what its agent says counts after a while", prod.property("tier", "lead"), held, "prod-eu [prod-eu 5m0s: fields[0]: properties.tier In (gold)]"},
		{"and does not let it in", prod.property("tier", "lead"), Before{}, ""},
		{"a person's spec counts at once", prod.property("tier", "lead"), Before{Clusters: held.Clusters}, ""},
		{"an expression about what its agent says", prod.with(func(c *Cluster) { c.KubernetesVersion = "v1.37.0" }), held, "prod-eu [prod-eu 5m0s: expressions[1] is false]"},
		{"what cannot be told keeps it", Cluster{Name: "prod-eu", Labels: prod.Labels}, held, "prod-eu (prod-eu)"},
		{"and does not let it in", Cluster{Name: "prod-eu", Labels: prod.Labels}, Before{}, "(prod-eu)"},
		{"its agent is lost", prod.lost(24 * time.Hour), held, "prod-eu"},
		{"NoSelect keeps who is there", prod.tainted("disks:NoSelect"), held, "prod-eu"},
		{"NoSelect lets nobody in", prod.tainted("disks:NoSelect"), Before{}, ""},
		{"PreferNoSelect does nothing where all are meant", prod.tainted("disks:PreferNoSelect"), Before{}, "prod-eu"},
		{"Evict drives out", prod.tainted("disks:Evict"), held, ""},
		{"what is tolerated does nothing", prod.tainted("known=1:Evict").tainted("known=2:NoSelect"), Before{}, "prod-eu"},
		{"what is tolerated for a while drives out later", prod.tainted("slow=1:Evict"), held, "prod-eu [prod-eu 5m0s: the taint slow=1:Evict, which is tolerated for 300s]"},
		{"what is tolerated for a while lets nobody in", prod.tainted("slow=1:Evict"), Before{}, ""},
		{"Evict is more than what is unknown", Cluster{Name: "prod-eu", Labels: prod.Labels}.tainted("disks:Evict"), held, ""},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			if got := compiled(t, spec).Decide(of(tc.cluster), tc.before, noon).String(); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestABlinkIsForgotten: a property that is gone and comes back within the time that the cluster stays.
func TestABlinkIsForgotten(t *testing.T) {
	plan := compiled(t, v1alpha1.PlacementSpec{Fields: []v1alpha1.FieldRequirement{{Field: "properties.up", Operator: v1alpha1.FieldExists}}})
	up, down := member("a").property("up", "1"), member("a")
	decision := plan.Decide(of(up), Before{}, noon)
	for _, step := range []struct {
		reason string
		at     time.Duration
		seen   Cluster
		want   string
		again  time.Duration // from noon; 0 never
	}{
		{"it is gone", time.Minute, down, "a [a 6m0s: fields[0]: properties.up Exists]", 6 * time.Minute},
		{"it is gone still, and the time goes on", 3 * time.Minute, down, "a [a 6m0s: fields[0]: properties.up Exists]", 6 * time.Minute},
		{"it is back", 5 * time.Minute, up, "a", 0},
		{"it is gone again, and the time begins anew", 7 * time.Minute, down, "a [a 12m0s: fields[0]: properties.up Exists]", 12 * time.Minute},
		{"a moment before", 12*time.Minute - time.Nanosecond, down, "a [a 12m0s: fields[0]: properties.up Exists]", 12 * time.Minute},
		{"the time is over", 12 * time.Minute, down, "", 0},
		{"it comes too late", 13 * time.Minute, up, "a", 0},
	} {
		decision = plan.Decide(of(step.seen), decision.next(), noon.Add(step.at))
		if got := decision.String(); got != step.want {
			t.Fatalf("%s: got %q, want %q", step.reason, got, step.want)
		}
		if got := decision.Again; got.IsZero() != (step.again == 0) || !got.IsZero() && got != noon.Add(step.again) {
			t.Fatalf("%s: looks again at %s", step.reason, got)
		}
	}
}
