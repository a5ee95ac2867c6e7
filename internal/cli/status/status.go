package status

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/health"
)

// Wrong is the code with which --exit-code ends when something is critical or failing.
const Wrong = 3

const (
	// alike is how many findings of one kind and reason are shown each in its line.
	alike = 3
	// screen is how many lines are shown unless all are asked for.
	screen = 20
)

// Options are the arguments of `umbel status`.
type Options struct {
	*client.Factory
	// Levels are those that are shown; all without any.
	Levels []string
	// Exit ends with Wrong when something is critical or failing.
	Exit bool
	// Watch goes on with each change.
	Watch bool
	// NoHeaders leaves the header of the table out.
	NoHeaders bool
	// Format is how it is written.
	Format output.Format
}

// NewCmd returns the command `umbel status`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say what is wrong in the fleet now, the worst first",
		Long: "Say what is wrong in the fleet now, the worst first: since when, why, and the command that shows more.\n\n" +
			"Critical is a cluster or a hub that is out of reach. Failing is what was asked for, is not so, and does not become so by itself.\n" +
			"Waiting stands still until somebody decides. Warning is what is not lost yet, or was left so on purpose. Work that goes on is none of it.\n\n" +
			"Many of one kind for the same reason are one line; -o wide, json and yaml have each of them. What you may not read is named on\n" +
			"standard error: of that it says nothing.",
		Example: "  # what is wrong\n  umbel status\n\n  # each of it, with the reasons in one word\n  umbel status -o wide\n\n" +
			"  # what waits for a person\n  umbel status --level Waiting\n\n" +
			"  # what comes and what is over, as it happens\n  umbel status --watch\n\n" +
			"  # in a script: code 3 when something is critical or failing\n  umbel status -o name --exit-code",
		SuggestFor:        []string{"health", "wrong", "problems"},
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, level := range o.Levels {
				if !slices.Contains(health.Levels, health.Level(level)) {
					return exit.Usagef("--level %q: it is one of %s", level, v1alpha1.Few(health.Levels, len(health.Levels)))
				}
			}
			if o.Watch && o.Exit {
				return exit.Usagef("--exit-code says how the fleet is at one moment: leave --watch out")
			}
			if o.Watch && o.Format != "" && o.Format != output.Wide {
				return exit.Usagef("-o %s shows one moment: leave --watch out", o.Format)
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	output.AddFlag(cmd, &o.Format, output.Wide, output.JSON, output.YAML, output.Name)
	cmd.Flags().StringSliceVar(&o.Levels, "level", nil, "only what is of the `LEVEL`: Critical, Failing, Waiting, Warning (several with commas)")
	cmd.Flags().BoolVar(&o.Exit, "exit-code", false, fmt.Sprintf("end with code %d when something is critical or failing", Wrong))
	cmd.Flags().BoolVarP(&o.Watch, "watch", "w", false, "go on with what comes, changes and is over until interrupted, which is no failure (exit code 0)")
	cmd.Flags().BoolVar(&o.NoHeaders, "no-headers", false, "leave the header of the table out")
	var levels []string
	for _, level := range health.Levels {
		levels = append(levels, string(level))
	}
	// It fails for a flag that does not exist only.
	_ = cmd.RegisterFlagCompletionFunc("level", cobra.FixedCompletions(levels, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// report is what programs read.
type report struct {
	Hub struct {
		Alive   bool   `json:"alive"`
		Message string `json:"message,omitempty"`
	} `json:"hub"`
	Counts   health.Counts    `json:"counts"`
	Findings []health.Finding `json:"findings"`
	// Unseen is what could not be read, and why.
	Unseen []string `json:"unseen,omitempty"`

	wrong bool // something is critical or failing, whatever is asked for
}

func (o *Options) run(ctx context.Context, hub *client.Hub) error {
	said, err := o.look(ctx, hub)
	if err != nil {
		return err
	}
	if err := o.write(said); err != nil {
		return err
	}
	if o.Watch {
		return o.follow(ctx, hub, said.Findings)
	}
	if o.Exit && said.wrong {
		return exit.Status(Wrong)
	}
	return nil
}

// look says what is wrong now, of the levels that are asked for.
func (o *Options) look(ctx context.Context, hub *client.Hub) (*report, error) {
	seen, unseen, err := read(ctx, o.Factory, hub)
	if err != nil {
		return nil, err
	}
	said := &report{Counts: seen.Counts(), Findings: []health.Finding{}, Unseen: unseen}
	said.Hub.Alive, said.Hub.Message = seen.Silence == "", seen.Silence
	for _, f := range seen.Findings() {
		said.wrong = said.wrong || f.Wrong()
		if len(o.Levels) == 0 || slices.Contains(o.Levels, string(f.Level)) {
			said.Findings = append(said.Findings, f)
		}
	}
	return said, nil
}
