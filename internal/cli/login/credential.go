package login

import (
	"encoding/json"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauthenticationv1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/login/session"
)

// NewCredentialCmd returns the hidden command `umbel credential`, which kubectl and client-go call: it prints an
// ExecCredential. It is never interactive.
func NewCredentialCmd(f *client.Factory) *cobra.Command {
	return &cobra.Command{
		Use:               "credential HUB",
		Short:             "Print a token for a hub that somebody has signed in to",
		Long:              "Print a token for a hub that somebody has signed in to, as an ExecCredential of client.authentication.k8s.io/v1. kubectl calls it.",
		Example:           "  # what kubectl does\n  umbel credential https://hub.example.com:7443",
		Hidden:            true,
		Args:              exit.Takes("HUB"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			hub, err := parseHub(args[0])
			if err != nil {
				return err
			}
			current, err := session.In(f.Home, f.Now).Token(cmd.Context(), hub)
			if err != nil {
				return err
			}
			expires := metav1.NewTime(current.Expires)
			return json.NewEncoder(f.Out).Encode(clientauthenticationv1.ExecCredential{
				TypeMeta: metav1.TypeMeta{APIVersion: clientauthenticationv1.SchemeGroupVersion.String(), Kind: "ExecCredential"},
				Status:   &clientauthenticationv1.ExecCredentialStatus{Token: current.IDToken, ExpirationTimestamp: &expires},
			})
		},
	}
}
