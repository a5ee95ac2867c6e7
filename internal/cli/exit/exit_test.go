package exit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli/exit"
)

func TestCode(t *testing.T) {
	plain := errors.New("the hub does not answer")
	cases := []struct {
		reason string
		err    error
		code   int
		silent bool
	}{
		{reason: "all went well", err: nil, code: 0},
		{reason: "nil is not made an error", err: exit.Usage(nil), code: 0},
		{reason: "any error is a failure", err: plain, code: 1},
		{reason: "a misuse", err: exit.Usage(plain), code: 2},
		{reason: "a misuse stays one when it is wrapped", err: fmt.Errorf("reading flags: %w", exit.Usagef("no such flag")), code: 2},
		{reason: "arguments that do not fit", err: exit.Args(cobra.NoArgs)(&cobra.Command{Use: "umbel"}, []string{"x"}), code: 2},
		{reason: "an interrupt", err: fmt.Errorf("waiting: %w", context.Canceled), code: 130},
		{reason: "time that is up is no interrupt", err: context.DeadlineExceeded, code: 1},
		{reason: "the code of a program that was run passes through", err: fmt.Errorf("running kubectl: %w", exit.Status(42)), code: 42, silent: true},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if got := exit.Code(c.err); got != c.code {
				t.Errorf("got code %d, want %d", got, c.code)
			}
			if got := exit.Silent(c.err); got != c.silent {
				t.Errorf("got silent %v, want %v", got, c.silent)
			}
		})
	}
}

func TestArgumentsAreNamed(t *testing.T) {
	cases := []struct {
		reason string
		check  cobra.PositionalArgs
		args   []string
		want   string
	}{
		{reason: "none, and none is wanted", check: exit.Takes()},
		{reason: "none is wanted", check: exit.Takes(), args: []string{"x"}, want: "\"x\" is too much: `umbel --help` shows examples"},
		{reason: "as many as there are names", check: exit.Takes("NAME", "REF"), args: []string{"a", "b"}},
		{reason: "the second is missing", check: exit.Takes("NAME", "REF"), args: []string{"a"}, want: "REF is missing: `umbel --help` shows examples"},
		{reason: "one too many", check: exit.Takes("NAME"), args: []string{"a", "b"}, want: "\"b\" is too much: `umbel --help` shows examples"},
		{reason: "several", check: exit.TakesSome("NAME"), args: []string{"a", "b"}},
		{reason: "at least one", check: exit.TakesSome("NAME"), want: "NAME is missing: `umbel --help` shows examples"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			err := c.check(&cobra.Command{Use: "umbel"}, c.args)
			if (err == nil) != (c.want == "") || err != nil && (err.Error() != c.want || exit.Code(err) != exit.Misuse) {
				t.Errorf("got %v with code %d, want %q", err, exit.Code(err), c.want)
			}
		})
	}
}

func TestAMissingFlagIsAMisuse(t *testing.T) {
	cases := []struct {
		reason string
		mark   func(*cobra.Command) error
		args   []string
		want   string
	}{
		{"it is required", func(cmd *cobra.Command) error { return cmd.MarkFlagRequired("workers") }, nil, "required flag(s) \"workers\" not set"},
		{"one of two is", func(cmd *cobra.Command) error { cmd.MarkFlagsOneRequired("workers", "pool"); return nil }, nil,
			"at least one of the flags in the group [workers pool] is required"},
		{"two do not go together", func(cmd *cobra.Command) error { cmd.MarkFlagsMutuallyExclusive("workers", "pool"); return nil }, []string{"--workers", "1", "--pool", "a"},
			"if any flags in the group [workers pool] are set none of the others can be; [pool workers] were all set"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			cmd := &cobra.Command{Use: "umbel", SilenceErrors: true, SilenceUsage: true, RunE: func(*cobra.Command, []string) error { return nil }}
			cmd.Flags().String("workers", "", "")
			cmd.Flags().String("pool", "", "")
			if err := c.mark(cmd); err != nil {
				t.Fatal(err)
			}
			exit.Adopt(cmd)
			cmd.SetArgs(append([]string{}, c.args...))
			err := cmd.Execute()
			if want := c.want + ": `umbel --help` lists the flags"; err == nil || err.Error() != want || exit.Code(err) != exit.Misuse {
				t.Errorf("got %v with code %d, want %q", err, exit.Code(err), want)
			}
		})
	}
}
