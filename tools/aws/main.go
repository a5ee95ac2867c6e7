// Command umbel-aws answers: what would AWS refuse of a cluster, and what does it still hold of one? It is a program of its own, for whoever makes
// clusters there, so that nobody else has AWS' libraries. `umbel cluster create`, `umbel cluster scale` and `umbel cluster delete --force-detach`
// run it.
//
// It reads a question as JSON (Question) and writes the answer as JSON (Answer). It changes nothing in AWS. What it cannot find out is an error, by
// its exit code and on stderr, or said in the answer.
//
//	check  signs in, and holds the machines against what the region and the zones offer, what the key may do, and the quotas of the account
//	left   lists what carries the tag with which Cluster API's provider marks what it made for the cluster
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
	answer := map[string]func(context.Context, *Account, Question) (Answer, error){"check": check, "left": left}
	if len(args) != 1 || answer[args[0]] == nil {
		return errors.New("usage: umbel-aws check|left < QUESTION.json")
	}
	var q Question
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&q); err != nil {
		return fmt.Errorf("reading the question: %w", err)
	}
	account, err := open(q)
	if err != nil {
		return err
	}
	a, err := answer[args[0]](ctx, account, q)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(a)
}
