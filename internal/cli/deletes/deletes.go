// Package deletes answers: which deletes wait for somebody's word, and what that was deleted is to come back? It holds
// `umbel approve deletes` and `umbel undo`.
//
// Approving is a change of Package.spec.deletes, undoing one of MemberCluster.spec.undo; the agents do the rest. What is
// shown before is what the agents said (MemberCluster.status) and, of clusters that lose a Package, what the hub decides.
package deletes

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
)

// asking is what both verbs have in common: on which clusters, and whether to ask.
type asking struct {
	*client.Factory
	clusters []string
	yes      bool
}

func (a *asking) addFlags(cmd *cobra.Command) {
	a.AddNamespaceFlag(cmd)
	cmd.Flags().StringSliceVar(&a.clusters, "cluster", nil, "`NAME` of a cluster; can be given several times (default: every cluster)")
	cmd.Flags().BoolVarP(&a.yes, "yes", "y", false, "do not ask")
	_ = cmd.RegisterFlagCompletionFunc("cluster", a.CompleteName(kinds.Clusters)) // it fails for a flag that does not exist only
}

// on says whether a cluster is meant.
func (a *asking) on(cluster string) bool {
	return len(a.clusters) == 0 || slices.Contains(a.clusters, cluster)
}

// known checks that every cluster that was named is there.
func (a *asking) known(members []v1alpha1.MemberCluster) error {
	for _, name := range a.clusters {
		if !slices.ContainsFunc(members, func(m v1alpha1.MemberCluster) bool { return m.Name == name }) {
			return fmt.Errorf("there is no cluster %q: `umbel get clusters` lists them", name)
		}
	}
	return nil
}

// confirm asks, after what is at stake was shown on Err.
func (a *asking) confirm(question string) error {
	if a.yes {
		return nil
	}
	fmt.Fprintf(a.Err, "\n%s Type yes to go on: ", question)
	said, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading your answer: %w", err)
	}
	if strings.TrimSpace(said) != "yes" {
		return errors.New("nothing was changed: --yes answers for you")
	}
	return nil
}

// show writes a table on Err: Out is for what was done.
func (a *asking) show(headers []string, rows [][]output.Cell) error {
	table := output.Table{Headers: headers, Palette: a.Palette(a.Err), Indent: "  "}
	return table.Write(a.Err, rows)
}

// packageOf returns the name in an argument that names a package.
func packageOf(arg string) (string, error) { return kinds.Packages.NameOf(arg) }

// names are the first of some, and how many more there are.
func names(all []string, of int) string {
	text := strings.Join(all, ", ")
	if more := of - len(all); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
