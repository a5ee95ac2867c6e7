package ca

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
)

// shown is the status as -o json and yaml print it.
type shown struct {
	v1alpha1.CAStatus `json:",inline"`
	Members           counts `json:"members"`
}

func newStatusCmd(f *client.Factory) *cobra.Command {
	var format output.Format
	cmd := &cobra.Command{
		Use:   "status",
		Short: "How it stands with the certificate authority and its rotation",
		Long: "How it stands with the certificate authority: which there are, until when they are valid, how many members have a\n" +
			"certificate of which, how far a rotation is and for whom it waits.",
		Example: `  # is a rotation under way, and does an authority near its end?
  umbel ca status

  # for a program
  umbel ca status -o json`,
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error {
				status, _, err := read(ctx, hub)
				if err != nil {
					return err
				}
				return show(ctx, f, hub, status, format)
			})
		},
	}
	output.AddFlag(cmd, &format, output.JSON, output.YAML)
	return cmd
}

func show(ctx context.Context, f *client.Factory, hub *client.Hub, status v1alpha1.CAStatus, format output.Format) error {
	var members v1alpha1.MemberClusterList
	if err := hub.List(ctx, &members); err != nil {
		return err
	}
	counted := count(members.Items, status.Bundle)
	if format != output.Human {
		return output.Encode(f.Out, format, shown{status, counted})
	}
	palette, now := f.Palette(f.Out), f.Now()
	fmt.Fprintf(f.Out, "Rotation  %s\n", progress(status, counted, now))
	fmt.Fprintf(f.Out, "Members   %d connected, %d of them trust the authorities of today\n\n", counted.Connected, counted.Trusting)
	table := output.Table{Headers: []string{"AUTHORITY", "KEY", "ROLE", "NOT BEFORE", "NOT AFTER", "CERTIFICATES", "REFUSED"}, Palette: palette}
	var rows [][]output.Cell
	for _, a := range status.Authorities {
		rows = append(rows, []output.Cell{
			output.Text(a.Name), output.Text(a.Fingerprint), {Text: string(a.Role), Tone: tone(a.Role)},
			output.Text(day(a.NotBefore)), output.Text(day(a.NotAfter)),
			output.Text(fmt.Sprint(counted.Certificates[a.Fingerprint])), output.Text(fmt.Sprint(a.Refused)),
		})
	}
	if err := table.Write(f.Out, rows); err != nil {
		return err
	}
	name := func(what string, names []string) {
		if len(names) > 0 {
			fmt.Fprintf(f.Out, "\n%s: %s\n", what, v1alpha1.Few(names, 10))
		}
	}
	name("Connected, and without the authorities of today", counted.Behind)
	name("Away, and without the authorities of today", counted.Away)
	for _, warning := range status.Warnings {
		fmt.Fprintf(f.Err, "%s: %s\n", palette.Paint(output.Doubtful, "warning"), warning)
	}
	return nil
}

// day is a date: that an authority ends in nine years and 364 days reads as if a year were missing.
func day(at metav1.Time) string { return at.UTC().Format(time.DateOnly) }

func tone(role v1alpha1.CARole) output.Tone {
	switch role {
	case v1alpha1.CAIssues:
		return output.Good
	case v1alpha1.CADistrusted:
		return output.Bad
	case v1alpha1.CARetired:
		return output.Faint
	}
	return output.Neutral
}

// progress says how far a rotation is, and what it waits for.
func progress(status v1alpha1.CAStatus, counted counts, now time.Time) string {
	var since, until string
	if status.Since != nil {
		since = " since " + output.Age(status.Since.Time, now)
	}
	if status.Until != nil {
		until = output.Until(status.Until.Time, now)
	}
	switch status.Phase {
	case v1alpha1.CAAnnounced:
		kind := "announced"
		if status.Compromised {
			kind = "announced, because of a stolen key,"
		}
		waits := "it switches when all connected members trust the next authority"
		if status.Compromised {
			waits = "it switches when all members trust the next authority, those that are away too, or with `umbel ca rotate --finish`"
		}
		if until != "" {
			waits += ", " + until + " at the latest or to look again"
		}
		return kind + since + ": " + waits
	case v1alpha1.CASwitched:
		return "switched" + since + ": what the authorities before issued is accepted; they retire " + until
	}
	return "none under way"
}
