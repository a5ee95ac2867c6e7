package exit_test

import (
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
