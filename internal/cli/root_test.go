package cli_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
		cmd.Flags().VisitAll(func(flag *pflag.Flag) {
			kind, usage := pflag.UnquoteUsage(flag)
			if usage == "" || kind != "" && kind != strings.ToUpper(kind) {
				t.Errorf("%s --%s says %q %q: name what it takes, as in `FILE`", cmd.CommandPath(), flag.Name, kind, usage)
			}
		})
	}
	visit(root)
	for _, want := range []string{"Exit codes:", "UMBEL_HOME", "UMBEL_KUBECONFIG", "NO_COLOR"} {
		if !strings.Contains(root.Long, want) {
			t.Errorf("`umbel --help` does not speak of %s", want)
		}
	}
}

// TestCompletionOffersNoFiles where a command takes none: a shell does so unless it is told not to.
func TestCompletionOffersNoFiles(t *testing.T) {
	t.Setenv("UMBEL_HOME", t.TempDir())
	// kubectl is asked for a cluster first, and what follows is its own; the others take a file.
	others := []string{"umbel kubectl", "umbel backup", "umbel restore", "umbel import"}
	var leaves [][]string
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
		if cmd.Runnable() && !cmd.Hidden && !slices.Contains(others, cmd.CommandPath()) {
			leaves = append(leaves, strings.Fields(cmd.CommandPath())[1:])
		}
	}
	visit(cli.NewRoot(client.New(output.Streams{Out: io.Discard, Err: io.Discard})))
	for _, leaf := range leaves {
		var out strings.Builder
		root := cli.NewRoot(client.New(output.Streams{Out: &out, Err: io.Discard}))
		root.SetOut(&out)
		root.SetErr(io.Discard)
		root.SetArgs(append(append([]string{"__complete"}, leaf...), ""))
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Errorf("umbel %s: %v", strings.Join(leaf, " "), err)
		}
		if strings.HasSuffix(out.String(), ":0\n") {
			t.Errorf("umbel %s offers files: %q", strings.Join(leaf, " "), out.String())
		}
	}
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
		{args: "show", code: exit.Misuse, err: "there is no command \"show\", did you mean describe?: `umbel --help` shows examples"},
		{args: "version", code: exit.OK},
		{args: "version 2", code: exit.Misuse, err: "\"2\" is too much: `umbel version --help` shows examples"},
		{args: "help", code: exit.OK},
		{args: "help get", code: exit.OK},
		{args: "help local create", code: exit.OK},
		{args: "help nosuch", code: exit.Misuse, err: "there is no command \"nosuch\": `umbel --help` shows examples"},
		{args: "help local crate", code: exit.Misuse, err: "there is no command \"crate\", did you mean create?: `umbel local --help` shows examples"},
		{args: "--help", code: exit.OK},
		{args: "get pods --help", code: exit.OK},
		{args: "nosuch --help", code: exit.Misuse, err: "there is no command \"nosuch\": `umbel --help` shows examples"},
		{args: "local crate -h", code: exit.Misuse, err: "there is no command \"crate\", did you mean create?: `umbel local --help` shows examples"},
		{args: "get clusters --nope", code: exit.Misuse, err: "unknown flag: --nope: `umbel get --help` lists the flags"},
	}
	for _, c := range cases {
		t.Run("umbel "+c.args, func(t *testing.T) {
			root := cli.NewRoot(client.New(output.Streams{Out: io.Discard, Err: io.Discard}))
			root.SetOut(io.Discard)
			root.SetArgs(strings.Fields(c.args))
			err := exit.Execute(t.Context(), root)
			if got := exit.Code(err); got != c.code {
				t.Errorf("got code %d, want %d", got, c.code)
			}
			if err != nil && err.Error() != c.err || err == nil && c.err != "" {
				t.Errorf("got  %v\nwant %s", err, c.err)
			}
		})
	}
}
