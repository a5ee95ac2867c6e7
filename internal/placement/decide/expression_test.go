package decide

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"k8s.io/apiserver/pkg/cel/library"
)

// TestWhatIsCheapCostsLittle: an expression whose cost is not counted costs no more than one may, of a cluster that has far more of
// everything than the API lets in.
func TestWhatIsCheapCostsLittle(t *testing.T) {
	huge := member(strings.Repeat("n", 10_000))
	huge = huge.with(func(c *Cluster) {
		c.KubernetesVersion, c.AgentVersion = "v1."+strings.Repeat("9", 10_000), strings.Repeat("1.", 10_000)
	})
	for _, key := range append([]string{"env", "region", "room"}, strings.Fields(fmt.Sprint(make([]int, 500)))...) {
		huge.Labels[fmt.Sprint(key, len(huge.Labels))], huge.Labels[key] = strings.Repeat("v", 10_000), strings.Repeat("7", 10_000)
	}
	huge.Properties = huge.Labels
	for _, tc := range []struct {
		text  string
		cheap bool
	}{
		{"cluster.labels.env == 'prod'", true},
		{"cluster.labels.region == 'r1' && cluster.labels.env == 'prod' || !('tier' in cluster.labels)", true},
		{"cluster.labels.region in ['r1', 'r2']", true},
		{"cluster.labels.?tier.orValue('none') != 'gold'", true},
		{"cluster.name.startsWith('prod-') || cluster.name.endsWith('-eu')", true},
		{"has(cluster.labels.env) ? cluster.version == 'v1.36.3' : cluster.agentVersion == 'v1'", true},
		{"int(cluster.labels.room) > 5", true},
		{"cluster.labels.env + 'x' == 'prodx'", false},
		{"cluster.labels.env == cluster.labels.region", false},
		{"cluster.name.contains('prod')", false},
		{"cluster.name.matches('^prod')", false},
		{"cluster.labels.exists(key, key == 'env')", false},
		{"cluster.properties.all(key, cluster.labels.exists(other, other == key))", false},
		{"size(cluster.labels.map(key, key)) > 5", false},
		{"[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, a + b + c + d > 0))))", false},
	} {
		t.Run(tc.text, func(t *testing.T) {
			env, err := environment()
			if err != nil {
				t.Fatal(err)
			}
			ast, issues := env.Compile(tc.text)
			if issues.Err() != nil {
				t.Fatal(issues.Err())
			}
			if got := cheap(env, ast); got != tc.cheap {
				t.Errorf("cheap: %v", got)
			}
			if !tc.cheap {
				return // and would take seconds
			}
			program, err := env.Program(ast, cel.CostTracking(&library.CostEstimator{}))
			if err != nil {
				t.Fatal(err)
			}
			_, details, err := program.Eval(variables{&huge})
			if cost := details.ActualCost(); *cost > maxCost {
				t.Errorf("costs %d of %d (%v)", *cost, maxCost, err)
			}
		})
	}
}
