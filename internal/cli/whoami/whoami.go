// Package whoami answers: who am I for the hub? It is the verb `umbel whoami`.
//
// The hub's API says it (SelfSubjectReview), not the credentials: what counts is what it makes of them.
package whoami

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/identity/signin"
)

const examples = `  # your name, your groups, and how the hub knows them
  umbel whoami

  # your name alone
  umbel whoami -o name

  # all that the hub knows, such as for a script
  umbel whoami -o json`

// Options are the arguments of `umbel whoami`.
type Options struct {
	*client.Factory
	Format output.Format
}

// NewCmd returns the command `umbel whoami`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:               "whoami",
		Short:             "Say who you are for the hub",
		Long:              "Say who you are for the hub, and how it knows. What you may do follows from your name and your groups: on the hub and, through it, on each cluster.",
		Example:           examples,
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	output.AddFlag(cmd, &o.Format, output.JSON, output.YAML, output.Name)
	return cmd
}

func (o *Options) run(ctx context.Context, hub *client.Hub) error {
	clients, err := kubernetes.NewForConfig(hub.Config)
	if err != nil {
		return err
	}
	review, err := clients.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	review.TypeMeta = metav1.TypeMeta{APIVersion: authenticationv1.SchemeGroupVersion.String(), Kind: "SelfSubjectReview"}
	switch o.Format {
	case output.JSON, output.YAML:
		return output.Encode(o.Out, o.Format, review)
	case output.Name:
		_, err := fmt.Fprintln(o.Out, review.Status.UserInfo.Username)
		return err
	}
	_, err = fmt.Fprint(o.Out, page(hub.Config.Host, review.Status.UserInfo))
	return err
}

// page is what a person reads.
func page(hub string, person authenticationv1.UserInfo) string {
	groups := slices.Sorted(slices.Values(person.Groups))
	return fmt.Sprintf("User:      %s\nGroups:    %s\nKnown by:  %s\nHub:       %s\n",
		person.Username, strings.Join(groups, ", "), knownBy(person), hub)
}

// knownBy says by which credentials the hub knows somebody. Their attributes tell it.
func knownBy(person authenticationv1.UserInfo) string {
	if issuer := person.Extra[signin.IssuerKey]; len(issuer) == 1 {
		return "a token of " + issuer[0]
	}
	if id := person.Extra[user.CredentialIDKey]; len(id) == 1 && strings.HasPrefix(id[0], "X509") {
		return "a client certificate"
	}
	if strings.HasPrefix(person.Username, "system:serviceaccount:") {
		return "a ServiceAccount token"
	}
	return "a token"
}
