package deletes

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/word"
)

// undo are the arguments of `umbel undo`.
type undo struct {
	asking
	list   bool
	format output.Format
}

// NewUndoCmd returns the command `umbel undo`.
func NewUndoCmd(f *client.Factory) *cobra.Command {
	o := &undo{asking: asking{Factory: f}}
	cmd := &cobra.Command{
		Use:   "undo PACKAGE|DELETION",
		Short: "Bring back what was deleted",
		Long: "Bring back what a package lost: the objects as they were, with labels, annotations, spec and data, from the journal that each\n" +
			"agent keeps for thirty days. With the name of a package it is what each cluster lost last of it; with that of a deletion,\n" +
			"as --list shows it, it is that one.\n\n" +
			"What comes back stays: no release deletes it until somebody approves that (umbel approve deletes), and a release that has\n" +
			"it again takes it over. Objects of a package that is not on the cluster any more are nobody's, until it is placed there\n" +
			"again. What is there again under the same name is left as it is.",
		Example: `  # what was deleted, where, and why
  umbel undo --list

  # bring back what the last release of shop deleted, on every cluster
  umbel undo shop

  # one deletion, without being asked
  umbel undo 3f9a2c1b --yes`,
		Args: exit.Args(func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 0 && !o.list {
				return errors.New("it takes the name of a package, or of a deletion as `umbel undo --list` shows it")
			}
			return nil
		}),
		ValidArgsFunction: f.CompleteName(kinds.Packages),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.format != output.Human && !o.list {
				return exit.Usagef("-o is for --list")
			}
			what := ""
			if len(args) > 0 {
				var err error
				if what, err = packageOf(args[0]); err != nil {
					return err
				}
			}
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return o.run(ctx, hub, what) })
		},
	}
	o.addFlags(cmd)
	cmd.Flags().BoolVar(&o.list, "list", false, "show what was deleted, and change nothing")
	output.AddFlag(cmd, &o.format, output.Wide, output.JSON, output.YAML, output.Name)
	cmd.Flags().Lookup("output").Usage += " (with --list)"
	return cmd
}

// deleted is a deletion and where it was.
type deleted struct {
	Cluster v1alpha1.ClusterName `json:"cluster"`
	v1alpha1.MemberDeletion
}

func (o *undo) run(ctx context.Context, hub *client.Hub, what string) error {
	var members v1alpha1.MemberClusterList
	if err := hub.List(ctx, &members); err != nil {
		return err
	}
	if err := o.known(members.Items); err != nil {
		return err
	}
	all := o.deletions(members.Items)
	if o.list {
		return o.showList(o.of(all, what))
	}
	chosen, err := o.choose(all, what)
	if err != nil {
		return err
	}
	o.Note("To be brought back:")
	if err := o.show(headers(output.Wide), rows(chosen, o.asking, output.Wide)); err != nil {
		return err
	}
	if err := o.confirm("Is all of that to come back?"); err != nil {
		return err
	}
	for _, d := range chosen {
		if err := o.ask(ctx, hub, d); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(o.Out, "cluster/%s: deletion %s is to be undone: %s\n", d.Cluster, d.ID, v1alpha1.Counted(d.Objects, "object")); err != nil {
			return err
		}
	}
	o.Note("`umbel undo --list` shows how far it is")
	return nil
}

// deletions returns those of the clusters that are meant, the newest first.
func (o *undo) deletions(members []v1alpha1.MemberCluster) []deleted {
	all := []deleted{}
	for i := range members {
		for _, d := range word.Deletions(&members[i]) {
			if o.on(members[i].Name) {
				all = append(all, deleted{v1alpha1.ClusterName(members[i].Name), d})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b deleted) int { return b.Time.Compare(a.Time.Time) })
	return all
}

// of returns those of a package, or the one with that name; all of them when nothing is named.
func (o *undo) of(all []deleted, what string) []deleted {
	if what == "" {
		return all
	}
	key := v1alpha1.KeyOf(o.Namespace, what)
	found := []deleted{}
	for _, d := range all {
		if d.ID == what || d.Package == key {
			found = append(found, d)
		}
	}
	return found
}

var idPattern = regexp.MustCompile(`^[0-9a-f]{8}$`)

// choose returns what is to be undone: the deletion of that name, or what each cluster lost last of the package.
func (o *undo) choose(all []deleted, what string) ([]deleted, error) {
	found := o.of(all, what)
	if i := slices.IndexFunc(found, func(d deleted) bool { return d.ID == what }); i >= 0 && idPattern.MatchString(what) {
		found = found[i : i+1]
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no cluster says that it lost anything of %q: `umbel undo --list` shows what was deleted; -n names the package's namespace", what)
	}
	var chosen []deleted
	seen := map[v1alpha1.ClusterName]bool{}
	for _, d := range found {
		if seen[d.Cluster] {
			continue
		}
		seen[d.Cluster] = true
		if d.State == v1alpha1.DeletionKept {
			chosen = append(chosen, d)
		}
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	last := found[0]
	switch last.State {
	case v1alpha1.DeletionUndone:
		return nil, fmt.Errorf("deletion %s on %s was undone already: %s; an older one has to be named", last.ID, last.Cluster, last.Message)
	case v1alpha1.DeletionUndoing:
		return nil, fmt.Errorf("deletion %s on %s is being undone already: `umbel undo --list -o wide` shows what it waits for", last.ID, last.Cluster)
	}
	return nil, fmt.Errorf("deletion %s on %s cannot be undone: %s", last.ID, last.Cluster, last.Message)
}

// ask writes the wish to the cluster, in the place of those that were fulfilled.
func (o *undo) ask(ctx context.Context, hub *client.Hub, d deleted) error {
	member := &v1alpha1.MemberCluster{}
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := hub.Get(ctx, kube.ObjectKey{Name: string(d.Cluster)}, member); err != nil {
			return err
		}
		before := member.DeepCopy()
		if _, err := word.Undo(member, d.ID); err != nil && !errors.Is(err, word.ErrAlreadySo) {
			return err
		}
		return hub.Patch(ctx, member, kube.MergeFromWithOptions(before, kube.MergeFromWithOptimisticLock{}))
	})
}

func (o *undo) showList(all []deleted) error {
	switch o.format {
	case output.JSON, output.YAML:
		return output.Encode(o.Out, o.format, all)
	case output.Name:
		for _, d := range all {
			if _, err := fmt.Fprintln(o.Out, d.ID); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		o.Note("Nothing was deleted that the clusters know of")
		return nil
	}
	table := output.Table{Headers: headers(o.format), Palette: o.Palette(o.Out)}
	return table.Write(o.Out, rows(all, o.asking, o.format))
}

func headers(format output.Format) []string {
	columns := []string{"DELETION", "CLUSTER", "PACKAGE", "OBJECTS", "BECAUSE", "RELEASE", "DELETED", "STATE"}
	if format == output.Wide {
		columns = append(columns, "NAMES", "MESSAGE")
	}
	return columns
}

// because says why a deletion was allowed.
var because = map[v1alpha1.DeletionCause]string{
	v1alpha1.DeletionWithinBudget: "within budget", v1alpha1.DeletionApproved: "approved", v1alpha1.DeletionRemoved: "package removed",
}

var tones = map[v1alpha1.DeletionState]output.Tone{
	v1alpha1.DeletionUndone: output.Good, v1alpha1.DeletionLost: output.Bad, v1alpha1.DeletionUndoing: output.Doubtful,
}

func rows(all []deleted, a asking, format output.Format) [][]output.Cell {
	var table [][]output.Cell
	for _, d := range all {
		row := append(output.Cells(d.ID, string(d.Cluster), string(d.Package), fmt.Sprint(d.Objects), because[d.Cause], d.Release,
			output.Ago(d.Time.Time, a.Now())), output.Cell{Text: string(d.State), Tone: tones[d.State]})
		if format == output.Wide {
			row = append(row, output.Text(names(d.Names, int(d.Objects))), output.Text(d.Message))
		}
		table = append(table, row)
	}
	return table
}
