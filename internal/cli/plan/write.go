package plan

import (
	"fmt"
	"io"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/delivery/preview"
)

// maxNames is how many clusters are named for people.
const maxNames = 5

// marks are what a change looks like, and how it is painted.
var marks = map[preview.Action]struct {
	mark string
	tone output.Tone
}{
	preview.Update: {"~", output.Doubtful}, preview.Add: {"+", output.Good}, preview.Delete: {"-", output.Bad}, preview.LetGo: {"<", output.Doubtful},
}

// write is the plan for people.
func (p *Plan) write(w io.Writer, palette output.Palette) {
	fmt.Fprintf(w, "Package %s, from %s\n", p.Package, p.Source)
	for _, g := range p.Groups {
		fmt.Fprintf(w, "\n%s: %s (%s)\n", clusters(len(g.Clusters)), g.summary(), names(g.Clusters))
		for _, c := range g.Changes {
			writeChange(w, palette, c)
		}
		for _, unknown := range g.Unknown {
			fmt.Fprintf(w, "  ? %s\n", palette.Paint(output.Doubtful, unknown))
		}
	}
	for _, u := range p.Without {
		fmt.Fprintf(w, "\nNothing for cluster %s, which keeps what it holds: %s\n", u.Cluster, u.Reason)
	}
	for _, u := range p.Unasked {
		fmt.Fprintf(w, "\nNot asked: cluster %s: %s\n", u.Cluster, u.Reason)
	}
	if len(p.Groups)+len(p.Without)+len(p.Unasked) == 0 {
		fmt.Fprintln(w, "\nThe placement selects no cluster.")
	}
}

func writeChange(w io.Writer, palette output.Palette, c preview.Change) {
	look := marks[c.Action]
	line := look.mark + " " + c.Object
	if c.File != "" {
		line += "   (" + c.File + ")"
	}
	fmt.Fprintf(w, "  %s\n", palette.Paint(look.tone, line))
	if c.Note != "" {
		fmt.Fprintf(w, "      %s\n", c.Note)
	}
	if c.Problem != "" {
		fmt.Fprintf(w, "      %s\n", palette.Paint(output.Bad, "it would fail: "+c.Problem))
	}
	for _, text := range lines(c.Diff) {
		tone := output.Neutral
		switch text[0] {
		case '+':
			tone = output.Good
		case '-':
			tone = output.Bad
		case '@':
			tone = output.Faint
		}
		fmt.Fprintf(w, "      %s\n", palette.Paint(tone, text))
	}
}

// markdown is the plan for a review: what changes is open, and all names can be unfolded.
func (p *Plan) markdown(w io.Writer) {
	fmt.Fprintf(w, "### Package `%s`\n\nFrom %s.\n", p.Package, p.Source)
	for _, g := range p.Groups {
		fmt.Fprintf(w, "\n**%s: %s**\n\n<details><summary>%s</summary>\n\n", clusters(len(g.Clusters)), g.summary(), names(g.Clusters))
		for _, cluster := range g.Clusters {
			fmt.Fprintf(w, "`%s` ", cluster)
		}
		fmt.Fprint(w, "\n\n</details>\n")
		for _, c := range g.Changes {
			fmt.Fprintf(w, "\n- %s `%s`", c.Action, c.Object)
			if c.File != "" {
				fmt.Fprintf(w, " (`%s`)", c.File)
			}
			for _, remark := range []string{c.Note, problem(c)} {
				if remark != "" {
					fmt.Fprintf(w, ": %s", remark)
				}
			}
			fmt.Fprintln(w)
			if c.Diff != "" {
				fence := fenceFor(c.Diff)
				fmt.Fprintf(w, "\n  %sdiff\n  %s\n  %s\n", fence, strings.Join(lines(c.Diff), "\n  "), fence)
			}
		}
		for _, unknown := range g.Unknown {
			fmt.Fprintf(w, "\n- not known: %s\n", unknown)
		}
	}
	for _, u := range p.Without {
		fmt.Fprintf(w, "\nNothing for cluster `%s`, which keeps what it holds: %s\n", u.Cluster, u.Reason)
	}
	for _, u := range p.Unasked {
		fmt.Fprintf(w, "\nNot asked: cluster `%s`: %s\n", u.Cluster, u.Reason)
	}
}

func problem(c preview.Change) string {
	if c.Problem == "" {
		return ""
	}
	return "**it would fail:** " + c.Problem
}

// fenceFor is a fence that the text does not end by itself.
func fenceFor(text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence
}

// summary says in a few words what a group's changes are.
func (g Group) summary() string {
	var parts []string
	for _, each := range []struct {
		count int
		what  string
	}{
		{g.count(preview.Update), "to change"}, {g.count(preview.Add), "to add"}, {g.count(preview.Delete), "to delete"},
		{g.count(preview.LetGo), "to let go"}, {g.problems(), "would fail"},
	} {
		if each.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", each.count, each.what))
		}
	}
	if len(parts) == 0 {
		return fmt.Sprintf("nothing changes, %s %s", v1alpha1.Counted(g.Same, "object"), v1alpha1.Agreeing(g.Same, "stays", "stay"))
	}
	return strings.Join(parts, ", ") + fmt.Sprintf(", %d stay", g.Same)
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func clusters(n int) string { return v1alpha1.Counted(n, "cluster") }

// names lists a few clusters and counts the others.
func names(clusters []v1alpha1.ClusterName) string {
	var few []string
	for _, name := range clusters[:min(maxNames, len(clusters))] {
		few = append(few, string(name))
	}
	list := strings.Join(few, ", ")
	if more := len(clusters) - len(few); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}
