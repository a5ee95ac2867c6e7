package exit

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Adopt makes cmd and every command below it end as this package says where cobra would not: a flag that is missing is
// a misuse, and so is, for a command that only holds others, a word that is none of them. Without a word such a
// command prints help.
func Adopt(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		Adopt(sub)
	}
	if cmd.Runnable() {
		cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
			if err := cmd.ValidateRequiredFlags(); err != nil {
				return Flags(cmd, err)
			}
			return nil
		}
		return
	}
	if !cmd.HasSubCommands() {
		return
	}
	cmd.SuggestionsMinimumDistance = 2 // cobra sets it only where it looks for commands itself
	cmd.Args = Args(func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return fmt.Errorf("there is no command %q, did you mean %s?", args[0], strings.Join(near, " or "))
		}
		return fmt.Errorf("there is no command %q", args[0])
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}
