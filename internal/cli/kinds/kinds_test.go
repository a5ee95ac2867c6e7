package kinds_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
)

func TestTarget(t *testing.T) {
	cases := []struct {
		reason string
		args   []string
		kind   string
		names  []string
		err    string
	}{
		{reason: "plural", args: []string{"clusters"}, kind: "MemberCluster"},
		{reason: "singular and names", args: []string{"cluster", "dev", "prod-eu"}, kind: "MemberCluster", names: []string{"dev", "prod-eu"}},
		{reason: "short name", args: []string{"mc"}, kind: "MemberCluster"},
		{reason: "the API's name", args: []string{"memberclusters"}, kind: "MemberCluster"},
		{reason: "as -o name writes it", args: []string{"membercluster.umbel.dev/dev"}, kind: "MemberCluster", names: []string{"dev"}},
		{reason: "capitals", args: []string{"Packages"}, kind: "Package"},
		{reason: "kind/name", args: []string{"pkg/shop", "package/web"}, kind: "Package", names: []string{"shop", "web"}},
		{reason: "placements", args: []string{"pl"}, kind: "Placement"},
		{reason: "releases", args: []string{"rel", "shop-1a2b3c4d"}, kind: "Release", names: []string{"shop-1a2b3c4d"}},
		{
			reason: "a typo", args: []string{"pakages"},
			err: `there is no kind "pakages": the kinds are clusters (mc), packages (pkg), placements (pl), releases (rel), rollouts (ro), plans, scopes (scp)`,
		},
		{reason: "nothing", err: "say which kind: clusters (mc), packages (pkg), placements (pl), releases (rel), rollouts (ro), plans, scopes (scp)"},
		{
			reason: "two kinds at once", args: []string{"pkg/shop", "pl/shops"},
			err: `after pkg/shop only other packages can follow, as package/NAME; got "pl/shops"`,
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			kind, names, err := kinds.Target(c.args)
			if c.err != "" {
				if err == nil || err.Error() != c.err || exit.Code(err) != exit.Misuse {
					t.Fatalf("got error %q with code %d, want %q with code %d", err, exit.Code(err), c.err, exit.Misuse)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.kind, kind.GVK.Kind); diff != "" {
				t.Errorf("kind (-want +got):\n%s", diff)
			}
			if !slices.Equal(c.names, names) {
				t.Errorf("got names %q, want %q", names, c.names)
			}
		})
	}
}
