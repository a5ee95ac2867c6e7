// Command umbel-azure answers: what would Azure refuse of a cluster, and what does it still hold of one? It is a program of its own, for whoever
// makes clusters there, so that nobody else has Azure's libraries. `umbel cluster create` and `umbel cluster delete --force-detach` run it.
//
// It reads a question as JSON (Question) and writes the answer as JSON (Answer). It changes nothing in Azure. What it cannot find out is an
// error, by its exit code and on stderr: it is no answer.
//
//	check  signs in, and holds the machines against what the region offers and what the subscription may use
//	left   lists the resource groups and resources that carry the tag with which Cluster API's provider marks what it made for the cluster
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run answers one question. The options are those of Azure's clients, nil for their defaults.
func run(ctx context.Context, args []string, in io.Reader, out io.Writer, options *arm.ClientOptions) error {
	answer := map[string]func(context.Context, *Account, Question) (Answer, error){"check": check, "left": left}
	if len(args) != 1 || answer[args[0]] == nil {
		return fmt.Errorf("usage: umbel-azure check|left < QUESTION.json")
	}
	var q Question
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&q); err != nil {
		return fmt.Errorf("reading the question: %w", err)
	}
	account, err := open(q, options)
	if err != nil {
		return err
	}
	a, err := answer[args[0]](ctx, account, q)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(a)
}
