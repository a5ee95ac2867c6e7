package exit

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Groups makes cmd, and every command below it that only holds others, answer a word that is none of them with a
// misuse (cobra would end with 1, or print help and end with 0), and no word at all with help.
func Groups(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		Groups(sub)
	}
	if !cmd.HasSubCommands() || cmd.Runnable() {
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
