package join

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/term"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// How long somebody may take who signs in: a program alone, and one that a person at a terminal answers.
const (
	programPatience = time.Minute
	personPatience  = 10 * time.Minute
	// quiet is how long nobody is told what is waited for.
	quiet = 5 * time.Second
)

// patienceOf returns how long who signs in may take, with this for its input: a plugin that asks a person gets that too.
func patienceOf(input *os.File) time.Duration {
	if term.IsTerminal(int(input.Fd())) {
		return personPatience
	}
	return programPatience
}

// login is how the caller's kubeconfig has him known at the cluster.
type login struct {
	file, user string
	// plugin is the program that gets the credentials (GKE's, EKS's and AKS's do); empty where the file has them.
	plugin string
	// hint is what the file says of how that is installed.
	hint string
}

// loginOf returns how somebody is known by the context of a kubeconfig.
func loginOf(file string, config *clientcmdapi.Config, kubeContext string) login {
	l := login{file: file}
	if used := config.Contexts[cmp.Or(kubeContext, config.CurrentContext)]; used != nil {
		l.user = used.AuthInfo
	}
	if user := config.AuthInfos[l.user]; user != nil && user.Exec != nil {
		l.plugin, l.hint = user.Exec.Command, user.Exec.InstallHint
	}
	return l
}

func (l login) String() string { return fmt.Sprintf("user %q of %s", l.user, l.file) }

// patient asks for no longer than its caller waits. A plugin that hangs is waited for by client-go, whatever a request's context says.
// It asks again, once, when the credentials turn out to have ended meanwhile: client-go has run the plugin again by then, and still gives
// back the answer that made it do so.
type patient struct {
	http.RoundTripper
	plugin string
}

// RoundTrip implements http.RoundTripper.
func (p patient) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := p.once(r)
	if err != nil || response.StatusCode != http.StatusUnauthorized || r.Body != nil && r.GetBody == nil {
		return response, err
	}
	again := r.Clone(r.Context())
	if r.Body != nil {
		if again.Body, err = r.GetBody(); err != nil {
			return response, nil // what it says is an answer too
		}
	}
	_ = response.Body.Close()
	return p.once(again)
}

func (p patient) once(r *http.Request) (*http.Response, error) {
	type answer struct {
		response *http.Response
		err      error
	}
	var signed atomic.Bool
	answers := make(chan answer, 1)
	asked := r.Clone(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GetConn: func(string) { signed.Store(true) }})) // whoever signs it writes into it
	go func() {
		response, err := p.RoundTripper.RoundTrip(asked)
		answers <- answer{response, err}
	}()
	select {
	case a := <-answers:
		return a.response, a.err
	case <-r.Context().Done():
	}
	go func() { // nobody waits for what may never come
		if a := <-answers; a.response != nil {
			_ = a.response.Body.Close()
		}
	}()
	if !signed.Load() {
		return nil, &hangingError{p.plugin, endPlugin(p.plugin)}
	}
	return nil, r.Context().Err()
}

// hangingError says that a plugin did not answer in time.
type hangingError struct {
	plugin string
	ended  bool
}

func (e *hangingError) Error() string {
	if e.ended {
		return fmt.Sprintf("its credential plugin %s has not answered, and was ended", e.plugin)
	}
	return fmt.Sprintf("its credential plugin %s has not answered, and may still run", e.plugin)
}

// signIn has the plugin run before anything else is shown, since it may talk with a person, and for as long as that takes.
func (m *member) signIn(ctx context.Context, patience time.Duration, out io.Writer) error {
	if m.login.plugin == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	note := time.AfterFunc(quiet, func() {
		fmt.Fprintf(out, "signing in at %s: waiting for %s, by which %s is known\n", m.server, m.login.plugin, m.login)
	})
	defer note.Stop()
	err := m.raw.Get().AbsPath("/version").Do(ctx).Error()
	if _, answered := errors.AsType[*apierrors.StatusError](err); answered && !apierrors.IsUnauthorized(err) {
		return nil // whether it may be asked that is another matter
	}
	return m.login.explain(m.server, err)
}

// signsInBy are the plugins of those who host clusters: what signs in again there, and what writes the kubeconfig anew.
var signsInBy = map[string]struct{ again, anew string }{
	"gke-gcloud-auth-plugin": {"gcloud auth login", "gcloud container clusters get-credentials"},
	"aws":                    {"aws sso login", "aws eks update-kubeconfig"},
	"aws-iam-authenticator":  {"aws sso login", "aws eks update-kubeconfig"},
	"kubelogin":              {"az login", "kubelogin convert-kubeconfig -l azurecli"},
}

// explain says what stands in the way of somebody who is not let in, and what to do; other errors stay as they are.
func (l login) explain(server string, err error) error {
	if err == nil {
		return nil
	}
	known := signsInBy[filepath.Base(l.plugin)]
	advice := ""
	said := err.Error()
	hanging, hangs := errors.AsType[*hangingError](err)
	at := strings.Index(said, "getting credentials: ")
	switch {
	case apierrors.IsUnauthorized(err):
		said = "it is not known there, or not any more"
		advice = "is the kubeconfig of this cluster, and has what it gives not ended?"
		if known.again != "" {
			advice = fmt.Sprintf("`%s` signs in anew", known.again)
		}
	case hangs:
		said = hanging.Error()
		advice = "does it wait for somebody? Run it once by kubectl, with this kubeconfig, at a terminal"
	case at < 0:
		return err
	default:
		said, _, _ = strings.Cut(said[at+len("getting credentials: "):], "\n") // what follows is of exec plugins in general
		advice = l.mend(said, known.again)
	}
	return fmt.Errorf("signing in at %s as %s: %s; %s", server, l, said, advice)
}

// mend says what to do about a plugin of which client-go said something.
func (l login) mend(said, again string) string {
	switch {
	case strings.Contains(said, "not found"):
		return strings.Join(strings.Fields("install it where `umbel join` runs, or put it into the PATH there. "+l.hint), " ")
	case strings.Contains(said, "not a terminal"):
		return "it asks a person: run `umbel join` at a terminal, or have the kubeconfig name one that asks nobody"
	case strings.Contains(said, "failed with exit code") && again != "":
		return fmt.Sprintf("what it says itself is above; `%s` may be what it lacks", again)
	case strings.Contains(said, "failed with exit code"):
		return "what it says itself is above"
	}
	return fmt.Sprintf("%s has to print an ExecCredential of the version that the kubeconfig names, and nothing else", l.plugin)
}

// outdated says how a kubeconfig is brought up to date that client-go does not take any more.
func (l login) outdated(err error) error {
	known := signsInBy[filepath.Base(l.plugin)]
	switch said := err.Error(); {
	case strings.Contains(said, `"client.authentication.k8s.io/v1alpha1"`):
		return fmt.Errorf("reading %s: its credential plugin speaks v1alpha1, which Kubernetes has not taken since 1.24: write the file anew, with `%s`: %w",
			l, cmp.Or(known.anew, "what wrote it"), err)
	case strings.Contains(said, `Auth Provider found for name "gcp"`):
		return fmt.Errorf("reading %s: Kubernetes has had no auth-provider gcp since 1.26: write the file anew, with `%s`: %w", l, signsInBy["gke-gcloud-auth-plugin"].anew, err)
	case strings.Contains(said, `Auth Provider found for name "azure"`):
		return fmt.Errorf("reading %s: Kubernetes has had no auth-provider azure since 1.26: convert the file, with `%s`: %w", l, signsInBy["kubelogin"].anew, err)
	}
	return fmt.Errorf("reading %s: %w", l, err)
}

// connect returns a client of the cluster, and one for what is no object, which waits for as long as its caller does.
func connect(config *rest.Config, l login) (client *http.Client, raw rest.Interface, err error) {
	if client, err = rest.HTTPClientFor(config); err != nil {
		return nil, nil, l.outdated(err)
	}
	if l.plugin != "" {
		client.Transport = patient{client.Transport, l.plugin}
	}
	waiting := *client
	waiting.Timeout = 0
	plain := rest.CopyConfig(config)
	plain.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	raw, err = rest.UnversionedRESTClientForConfigAndClient(plain, &waiting)
	return client, raw, err
}
