package login

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/login/session"
	"umbel.dev/umbel/internal/cli/route"
	"umbel.dev/umbel/internal/identity/provider"
	"umbel.dev/umbel/internal/identity/signin"
)

const loginExamples = `  # sign in with the browser; then every umbel command speaks to that hub, and kubectl has a context for it
  umbel login https://hub.example.com:7443
  umbel kubeconfig
  kubectl --context prod-eu get pods -A

  # on a machine without a browser
  umbel login https://hub.example.com:7443 --device

  # a hub with an authority of its own, without a question: by its file, or by its fingerprint
  umbel login https://hub.example.com:7443 --ca hub-ca.crt
  umbel login https://hub.example.com:7443 --ca-fingerprint 9F:86:D0:81:88:4C:7D:65:9A:2F:EA:A0:C5:5A:D0:15:A3:BF:4F:1B:2B:0B:82:2C:D1:5D:6C:15:B0:F0:0A:08`

// patience is how long somebody may take to sign in.
const patience = 10 * time.Minute

// loginOptions are the arguments of `umbel login`.
type loginOptions struct {
	*client.Factory
	// Hub is https://HOST:PORT.
	Hub string
	// CA is a file with the hub's authority, Fingerprint that of its certificate. Both may be empty.
	CA, Fingerprint string
	// Issuer chooses among several identity providers.
	Issuer string
	// Device signs in on another machine.
	Device bool
	// RedirectPort is that of loopback to which the browser comes back; 0 is any.
	RedirectPort int
	// File is the kubeconfig that gets a context; empty is the one that `kubectl config` writes.
	File string
}

// NewCmd returns the command `umbel login`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &loginOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "login HUB",
		Short: "Sign in to a hub with your identity provider",
		Long: "Sign in to a hub, at https://HOST:PORT, with the identity provider that its people use.\n\n" +
			"From then on umbel speaks to that hub, until `umbel logout`, and your kubeconfig has a context for it. `umbel kubeconfig` adds one for each cluster.",
		Example:           loginExamples,
		Args:              exit.Takes("HUB"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := f.Here(cmd); err != nil {
				return err
			}
			if o.Hub, err = parseHub(args[0]); err != nil {
				return err
			}
			if o.CA != "" && o.Fingerprint != "" {
				return exit.Usagef("--ca and --ca-fingerprint say the same: one of them is enough")
			}
			if o.RedirectPort < 0 || o.RedirectPort > 65535 {
				return exit.Usagef("--redirect-port is %d, want 0 to 65535", o.RedirectPort)
			}
			return o.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&o.CA, "ca", "", "`FILE` with the hub's certificate authority, PEM (default: those of this computer, else you are asked)")
	cmd.Flags().StringVar(&o.Fingerprint, "ca-fingerprint", "", "SHA-256 `FINGERPRINT` of the hub's certificate authority, instead of being asked")
	cmd.Flags().StringVar(&o.Issuer, "issuer", "", "`URL` of the identity provider, where the hub trusts several")
	cmd.Flags().BoolVar(&o.Device, "device", false, "sign in on another machine: an address and a code are shown")
	cmd.Flags().IntVar(&o.RedirectPort, "redirect-port", 0, "`PORT` of localhost that the browser comes back to, for providers that must know it (default: any that is free)")
	cmd.Flags().StringVarP(&o.File, "output", "o", "", "kubeconfig `FILE` that gets the context (default: that of kubectl config: $KUBECONFIG or ~/.kube/config)")
	return cmd
}

// parseHub reads https://HOST:PORT, also without the scheme.
func parseHub(text string) (string, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	at, err := url.Parse(text)
	if err != nil || at.Scheme != "https" || at.Host == "" || at.User != nil || at.RawQuery != "" || at.Fragment != "" {
		return "", exit.Usagef("the hub %q is not https://HOST:PORT", text)
	}
	if path := strings.Trim(at.Path, "/"); path != "" && path != "hub" {
		return "", exit.Usagef("the hub %q is not https://HOST:PORT: it has the path /%s", text, path)
	}
	return "https://" + at.Host, nil
}

func (o *loginOptions) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	store := session.In(o.Home, o.Now)
	remembered := ""
	if old, err := store.Load(o.Hub); err == nil {
		remembered = old.HubCA
	}
	hub, err := o.find(ctx, o.Hub, remembered)
	if err != nil {
		return err
	}
	issuer, err := o.choose(hub.Issuers)
	if err != nil {
		return err
	}
	tokens, err := o.signIn(ctx, issuer)
	if err != nil {
		return err
	}
	person, err := accepted(ctx, o.Hub, hub.ca, tokens.ID)
	if err != nil {
		return err
	}
	signedIn := &session.Session{Hub: o.Hub, HubCA: hub.ca, Issuer: issuer}
	signedIn.Take(tokens)
	if err := store.Save(signedIn); err != nil {
		return err
	}
	door := route.Door{Address: strings.TrimPrefix(o.Hub, "https://"), CA: []byte(hub.ca)}
	if err := o.writeContexts(door); err != nil {
		return err
	}
	o.Note("Signed in to %s as %s", o.Hub, person.Username)
	if tokens.Refresh == "" {
		o.Note("%s gives no refresh token: this lasts until %s", issuer.URL, tokens.Expires.Format(time.RFC3339))
	}
	return nil
}

// choose returns the identity provider to sign in with.
func (o *loginOptions) choose(issuers []signin.Issuer) (signin.Issuer, error) {
	var urls []string
	for _, issuer := range issuers {
		if issuer.URL == o.Issuer || o.Issuer == "" && len(issuers) == 1 {
			return issuer, nil
		}
		urls = append(urls, issuer.URL)
	}
	switch {
	case len(issuers) == 0:
		return signin.Issuer{}, fmt.Errorf("the hub at %s has no identity provider: whoever runs it gives it one with `umbel hub --authentication-config FILE`", o.Hub)
	case o.Issuer == "":
		return signin.Issuer{}, exit.Usagef("the hub at %s trusts several identity providers: choose one with --issuer: %s", o.Hub, strings.Join(urls, ", "))
	}
	return signin.Issuer{}, exit.Usagef("the hub at %s does not trust %s, but %s", o.Hub, o.Issuer, strings.Join(urls, ", "))
}

// signIn has the person sign in.
func (o *loginOptions) signIn(ctx context.Context, issuer signin.Issuer) (provider.Tokens, error) {
	with, err := provider.Discover(ctx, issuer)
	if err != nil {
		return provider.Tokens{}, err
	}
	if o.Device {
		return with.Device(ctx, func(address, code string) {
			o.Note("Open this address on any machine, and sign in; the code is %s\n\n  %s\n", code, address)
		})
	}
	return with.Browser(ctx, o.RedirectPort, func(address string) {
		o.Note("Sign in in your browser, at\n\n  %s\n", address)
		if err := open(ctx, address); err != nil {
			o.Note("The browser was not opened (%s): open the address yourself, on this machine, or use --device", err)
		}
	})
}

// open opens an address in the browser: $BROWSER, else the one of this desktop. It does not wait for it.
func open(ctx context.Context, address string) error {
	program := os.Getenv("BROWSER")
	if program == "" {
		program = map[string]string{"darwin": "open"}[runtime.GOOS]
	}
	if program == "" {
		program = "xdg-open"
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, address)
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// accepted asks the hub who the token makes somebody.
func accepted(ctx context.Context, hub, ca, token string) (authenticationv1.UserInfo, error) {
	config := &rest.Config{Host: hub + "/hub", BearerToken: token, UserAgent: "umbel", Timeout: answerTime}
	config.CAData = []byte(ca)
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	review, err := clients.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if apierrors.IsUnauthorized(err) {
		return authenticationv1.UserInfo{}, fmt.Errorf("you signed in, but the hub at %s does not accept it: %w", hub, err)
	}
	if err != nil {
		return authenticationv1.UserInfo{}, fmt.Errorf("asking the hub at %s who you are: %w", hub, err)
	}
	return review.Status.UserInfo, nil
}

// kubeconfigFile is the person's own.
func kubeconfigFile(file string) string {
	if file != "" {
		return file
	}
	return clientcmd.NewDefaultPathOptions().GetDefaultFilename()
}

// remove takes a file away that may not be there.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
