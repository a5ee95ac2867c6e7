// Package exit answers: with which code does the umbel command end, and does it still have something to say?
//
//	0  it did what was asked
//	1  it could not, and said why
//	2  it was asked wrongly: an unknown flag, a missing argument, a value that cannot be read
//	130  it was interrupted before it was done; what goes on until then (get --watch, audit --follow) ends with 0
//
// A program that umbel ran in its place (`umbel kubectl`) passes its own code through.
//
// Commands return errors; main alone turns the last one into a code (Code) and prints it unless it is Silent.
package exit

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	OK      = 0
	Failure = 1
	Misuse  = 2
	// Interrupted is what a shell makes of a program that SIGINT ended.
	Interrupted = 130
)

// Meaning is what people read of the codes.
const Meaning = `Exit codes:
  0    it did what was asked
  1    it could not, and said why
  2    it was asked wrongly, and said what is wrong
  130  it was interrupted before it was done; what goes on until then (get --watch, status --watch, audit --follow) was done, and ends with 0
` + "`umbel kubectl` ends with the code of kubectl."

// Status is the exit code of a program that umbel ran, which has said itself what there was to say.
type Status int

func (s Status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// misuse marks an error as one of the person who typed the command.
type misuse struct{ error }

func (m misuse) Unwrap() error { return m.error }

// Usage marks err as a misuse of the command: exit code 2. It returns nil for nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return misuse{err}
}

// Usagef makes an error that ends the command with exit code 2.
func Usagef(format string, args ...any) error {
	return misuse{fmt.Errorf(format, args...)}
}

// Takes checks that there is an argument for each of the names, which are those of the help, and no more.
func Takes(names ...string) cobra.PositionalArgs {
	return Args(func(_ *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return fmt.Errorf("%s is missing", names[len(args)])
		}
		if len(args) > len(names) {
			return fmt.Errorf("%q is too much", args[len(names)])
		}
		return nil
	})
}

// TakesSome checks that there is at least one argument.
func TakesSome(name string) cobra.PositionalArgs {
	return Args(func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s is missing", name)
		}
		return nil
	})
}

// Args makes a check of arguments report a misuse: exit code 2, and where to read on.
func Args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return Usagef("%w: `%s --help` shows examples", err, cmd.CommandPath())
		}
		return nil
	}
}

// Flags reports a flag that is unknown or cannot be read as a misuse. It is for cobra's SetFlagErrorFunc.
func Flags(cmd *cobra.Command, err error) error {
	return Usagef("%w: `%s --help` lists the flags", err, cmd.CommandPath())
}

// Code returns the exit code for what a command returned.
func Code(err error) int {
	if err == nil {
		return OK
	}
	if status, ok := errors.AsType[Status](err); ok {
		return int(status)
	}
	if _, ok := errors.AsType[misuse](err); ok {
		return Misuse
	}
	if errors.Is(err, context.Canceled) {
		return Interrupted
	}
	return Failure
}

// Silent says whether nothing is left to print: a program that umbel ran has spoken for itself.
func Silent(err error) bool {
	_, ok := errors.AsType[Status](err)
	return ok
}
