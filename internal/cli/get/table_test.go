package get

import (
	"bytes"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/clitest"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

func TestTable(t *testing.T) {
	var clusters []any
	for _, cluster := range clitest.Clusters() {
		clusters = append(clusters, &cluster)
	}
	packages := []any{clitest.Shop(), clitest.Broken()}
	older := clitest.Shop()
	older.Generation = 2
	cases := []struct {
		reason  string
		golden  string
		options Options
		moment  view.Moment
		palette output.Palette
		items   []any
	}{
		{
			reason: "clusters in every state, with the age of what is not known",
			golden: "clusters.txt", options: Options{Kind: kinds.Clusters}, moment: clitest.Alive(), items: clusters,
		},
		{
			reason: "wide adds labels, agent, last seen and reason",
			golden: "clusters-wide.txt", options: Options{Kind: kinds.Clusters, Format: output.Wide}, moment: clitest.Alive(), items: clusters,
		},
		{
			reason: "a hub that is silent knows nothing of any cluster",
			golden: "clusters-silent-hub.txt", options: Options{Kind: kinds.Clusters, Format: output.Wide}, moment: clitest.Silent(), items: clusters,
		},
		{
			reason: "a hub that was never heard of neither",
			golden: "clusters-unheard-hub.txt", options: Options{Kind: kinds.Clusters}, moment: clitest.Unheard(), items: clusters,
		},
		{
			reason: "colours on a terminal do not move columns",
			golden: "clusters-coloured.txt", options: Options{Kind: kinds.Clusters}, moment: clitest.Alive(), items: clusters, palette: output.Coloured,
		},
		{
			reason: "scripts leave headers out",
			golden: "clusters-no-headers.txt", options: Options{Kind: kinds.Clusters, NoHeaders: true}, moment: clitest.Alive(), items: clusters,
		},
		{
			reason: "packages of every namespace",
			golden: "packages-everywhere.txt", options: Options{Kind: kinds.Packages, Everywhere: true}, moment: clitest.Alive(), items: packages,
		},
		{
			reason: "wide adds placement, path and message",
			golden: "packages-wide.txt", options: Options{Kind: kinds.Packages, Format: output.Wide}, moment: clitest.Alive(), items: packages,
		},
		{
			reason: "a status that speaks of an older spec reads Unknown",
			golden: "packages-older-status.txt", options: Options{Kind: kinds.Packages}, moment: clitest.Alive(), items: []any{older},
		},
		{
			reason: "a silent hub: packages read Unknown",
			golden: "packages-silent-hub.txt", options: Options{Kind: kinds.Packages}, moment: clitest.Silent(), items: packages,
		},
		{
			reason: "placements with what they select",
			golden: "placements-wide.txt", options: Options{Kind: kinds.Placements, Format: output.Wide}, moment: clitest.Alive(), items: []any{clitest.Shops()},
		},
		{
			reason: "releases have no status that could age",
			golden: "releases-wide.txt", options: Options{Kind: kinds.Releases, Format: output.Wide}, moment: clitest.Unheard(), items: []any{clitest.ShopRelease()},
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			var out bytes.Buffer
			c.options.Factory = &client.Factory{Streams: output.Streams{Out: &out, Err: &out}}
			table := c.options.newTable()
			table.Palette = c.palette
			if err := table.write(c.moment, raw(t, c.items)); err != nil {
				t.Fatal(err)
			}
			clitest.Golden(t, c.golden, out.String())
		})
	}
}

func TestTableLinesUpWithLaterRows(t *testing.T) {
	var out bytes.Buffer
	o := &Options{Factory: &client.Factory{Streams: output.Streams{Out: &out, Err: &out}}, Kind: kinds.Packages}
	table := o.newTable()
	longer := clitest.Shop()
	longer.Name = "a-package-with-a-longer-name"
	for _, item := range []any{clitest.Shop(), clitest.Shop(), longer, clitest.Shop()} {
		if err := table.write(clitest.Alive(), raw(t, []any{item})); err != nil {
			t.Fatal(err)
		}
	}
	clitest.Golden(t, "packages-watched.txt", out.String())
}

func raw(t *testing.T, objects []any) []unstructured.Unstructured {
	t.Helper()
	var items []unstructured.Unstructured
	for _, object := range objects {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, unstructured.Unstructured{Object: content})
	}
	return items
}
