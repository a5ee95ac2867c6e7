package cli_test

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
)

// TestHelp sees to it that nobody has to guess how a command is used.
func TestHelp(t *testing.T) {
	root := cli.NewRoot(client.New(output.Streams{Out: io.Discard, Err: io.Discard}))
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
		if cmd.Hidden || cmd.HasSubCommands() {
			return
		}
		if cmd.Short == "" {
			t.Errorf("%s says nothing of itself", cmd.CommandPath())
		}
		if cmd.Example == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
	}
	visit(root)
}

func TestWordsThatAreNoCommand(t *testing.T) {
	cases := []struct {
		args string
		code int
		err  string
	}{
		{args: "", code: exit.OK},
		{args: "local", code: exit.OK},
		{args: "gett clusters", code: exit.Misuse, err: "there is no command \"gett\", did you mean get?: `umbel --help` shows examples"},
		{args: "local crate x", code: exit.Misuse, err: "there is no command \"crate\", did you mean create?: `umbel local --help` shows examples"},
		{args: "bonsai", code: exit.Misuse, err: "there is no command \"bonsai\": `umbel --help` shows examples"},
		{args: "get clusters --nope", code: exit.Misuse, err: "unknown flag: --nope: `umbel get --help` lists the flags"},
	}
	for _, c := range cases {
		t.Run("umbel "+c.args, func(t *testing.T) {
			root := cli.NewRoot(client.New(output.Streams{Out: io.Discard, Err: io.Discard}))
			root.SetOut(io.Discard)
			root.SetArgs(strings.Fields(c.args))
			err := root.ExecuteContext(t.Context())
			if got := exit.Code(err); got != c.code {
				t.Errorf("got code %d, want %d", got, c.code)
			}
			if err != nil && err.Error() != c.err || err == nil && c.err != "" {
				t.Errorf("got  %v\nwant %s", err, c.err)
			}
		})
	}
}
