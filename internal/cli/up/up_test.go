package up

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
)

// TestArgumentsAreReadBeforeAnythingIsMade: what is wrong with them is said at once, with the flag.
func TestArgumentsAreReadBeforeAnythingIsMade(t *testing.T) {
	for _, c := range []struct {
		reason string
		args   []string
		want   []cluster
		err    string
	}{
		{
			reason: "clusters and their labels", args: []string{"--cluster", "edge,env=dev,tier=", "--cluster", "bare", "--example=none"},
			want: []cluster{{"edge", map[string]string{"env": "dev", "tier": ""}}, {"bare", map[string]string{}}},
		},
		{
			reason: "the fleet of the README",
			want: []cluster{
				{"prod-eu", map[string]string{"env": "prod", "region": "eu"}}, {"prod-us", map[string]string{"env": "prod", "region": "us"}},
				{"dev", map[string]string{"env": "dev", "region": "eu"}},
			},
		},
		{
			reason: "a name that no cluster can have", args: []string{"--cluster", "Prod EU"},
			err: `--cluster "Prod EU": cluster name "Prod EU": must be at most 40 lower case letters, digits and hyphens, with a letter or digit at both ends`,
		},
		{reason: "no label", args: []string{"--cluster", "dev,env"}, err: `--cluster "dev,env": "env" is not KEY=VALUE`},
		{
			reason: "a label that no object can have", args: []string{"--cluster", "dev,=x"},
			err: `--cluster "dev,=x": label "=x": name part must be non-empty`,
		},
		{reason: "a name twice", args: []string{"--cluster", "dev,region=eu", "--cluster", "dev,env=x"}, err: `--cluster "dev,env=x": the name "dev" is given twice`},
		{
			reason: "a cluster that the example would wait for in vain", args: []string{"--cluster", "dev,env=dev"},
			err: `--cluster "dev,env=dev": the example refers to the label region of each cluster: add region=eu, or use --example=none`,
		},
		{reason: "another example", args: []string{"--example", "shop"}, err: `--example is fleet or none, not "shop"`},
		{reason: "more nodes than there can be", args: []string{"--nodes", "33"}, err: "--nodes is within 0..32, or -1 for what this computer can do, not 33"},
		{
			reason: "nobody could sign in", args: []string{"--authentication-config", "/nowhere.yaml"},
			err: "--authentication-config: reading the authentication configuration: open /nowhere.yaml: no such file or directory",
		},
		{
			reason: "another hub", args: []string{"--kubeconfig", "/else/where"},
			err: "`up` works on the data folder of this computer: --kubeconfig has no say in it, --home names another folder",
		},
	} {
		t.Run(c.reason, func(t *testing.T) {
			var got []cluster
			f := client.New(output.Streams{})
			cmd := newCmd(f, func(_ *Options, _ context.Context, clusters []cluster) error {
				got = clusters
				return nil
			})
			f.AddFlags(cmd.Flags())
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			cmd.SetArgs(append([]string{}, c.args...))
			err := cmd.ExecuteContext(t.Context())
			if c.err != "" {
				if err == nil || err.Error() != c.err || exit.Code(err) != exit.Misuse {
					t.Fatalf("got %v with code %d, want %q", err, exit.Code(err), c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(cluster{})); diff != "" {
				t.Errorf("clusters (-want +got):\n%s", diff)
			}
		})
	}
}
