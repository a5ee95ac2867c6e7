// Package token answers: how do clusters get in that nobody joins one by one? It holds `umbel token create`, `umbel token
// list` and `umbel token revoke`.
//
// A token is a Secret in umbel-system of the hub (v1alpha1.JoinToken): its hash, its end, how many clusters it lets in, with
// which labels, admitted or waiting for approval. The token itself is shown once, when it is made. The gateway alone decides
// about it and writes down its uses.
package token

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
)

// NewCmd returns the command `umbel token`.
func NewCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Tokens with which clusters register themselves",
		Long: "Tokens with which clusters register themselves, each under a name of its own: the same manifest for many clusters.\n\n" +
			"A token lets in a number of clusters until it expires or is revoked, and gives them its labels.",
	}
	cmd.AddCommand(newCreateCmd(f), newListCmd(f), newRevokeCmd(f))
	return cmd
}

// named is a token that the hub has.
type named struct {
	name  string
	token v1alpha1.JoinToken
}

// list returns the tokens that the hub has, by name. One that cannot be read is an error that names it.
func list(ctx context.Context, hub *client.Hub) ([]named, error) {
	var secrets corev1.SecretList
	err := hub.List(ctx, &secrets, kube.InNamespace(v1alpha1.SystemNamespace), kube.MatchingFields{"type": v1alpha1.JoinTokenType})
	if err != nil {
		return nil, err
	}
	var tokens []named
	for _, secret := range secrets.Items {
		name, many := strings.CutPrefix(secret.Name, v1alpha1.JoinTokenPrefix)
		if !many {
			continue // of one cluster, by `umbel join`
		}
		token, err := v1alpha1.ParseJoinToken(secret.Data[v1alpha1.JoinTokenData])
		if err != nil {
			return nil, fmt.Errorf("secret %s/%s: %w; `umbel token revoke %s` takes it away", secret.Namespace, secret.Name, err, name)
		}
		tokens = append(tokens, named{name, token})
	}
	slices.SortFunc(tokens, func(a, b named) int { return cmp.Compare(a.name, b.name) })
	return tokens, nil
}

// complete completes the name of a token.
func complete(f *client.Factory) cobra.CompletionFunc {
	return client.CompleteListed(f, list, func(t named) string { return t.name })
}

// checkName says what is wrong with the name of a token.
func checkName(name string) error {
	if len(name) > v1alpha1.MaxTokenName || !v1alpha1.ValidClusterName(v1alpha1.ClusterName(name)) {
		return exit.Usagef("%q is no name of a token: lower case letters, digits and '-', at most %d characters", name, v1alpha1.MaxTokenName)
	}
	return nil
}
