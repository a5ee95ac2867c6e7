// Command umbel-vsphere answers: what would a vCenter refuse of a cluster? It is a program of its own, for whoever makes clusters there, so that
// nobody else has vSphere's libraries. `umbel cluster create` and `umbel cluster scale` run it.
//
// It reads a question as JSON (Question) and writes the answer as JSON (Answer). It changes nothing in vSphere. What it cannot find out is an
// error, by its exit code and on stderr: it is no answer.
//
//	check  signs in, looks for all that the machines are made of, and holds their disks against the room in their datastores
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run answers one question.
func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) != 1 || args[0] != "check" {
		return errors.New("usage: umbel-vsphere check < QUESTION.json")
	}
	var q Question
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&q); err != nil {
		return fmt.Errorf("reading the question: %w", err)
	}
	a, err := check(ctx, q)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(a)
}
