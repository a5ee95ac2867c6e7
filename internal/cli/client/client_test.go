package client

import (
	encodepem "encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
)

func factory() *Factory {
	return New(output.Streams{Out: io.Discard, Err: io.Discard})
}

func TestWhichHub(t *testing.T) {
	empty, local := t.TempDir(), t.TempDir()
	admin := filepath.Join(local, "hub", "admin.kubeconfig")
	if err := os.MkdirAll(filepath.Dir(admin), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(admin, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		reason         string
		home, variable string
		flag           string
		want, err      string
	}{
		{reason: "the hub in the data folder", home: local, want: admin},
		{reason: "the variable comes first", home: local, variable: "/else/where", want: "/else/where"},
		{reason: "the flag before it", home: local, variable: "/else/where", flag: "/flag", want: "/flag"},
		{
			reason: "no hub", home: empty,
			err: "no hub: run `umbel up`, sign in with `umbel login`, or name one with --kubeconfig (looked for " + filepath.Join(empty, "hub", "admin.kubeconfig") + ")",
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			t.Setenv("UMBEL_HOME", c.home)
			t.Setenv("UMBEL_KUBECONFIG", c.variable)
			f := factory()
			if c.flag != "" {
				f.Kubeconfig = c.flag
			}
			got, err := f.HubKubeconfig()
			if fmt.Sprint(err) != c.err && c.err != "" || err != nil && c.err == "" || got != c.want {
				t.Errorf("got %q and error %v, want %q and error %q", got, err, c.want, c.err)
			}
		})
	}
}

func TestKubeconfigErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	cases := []struct {
		reason, content, err string
	}{
		{"not YAML", "clusters: [", "reading kubeconfig FILE: "},
		{"no current context", "apiVersion: v1\nkind: Config\n", `kubeconfig FILE: current-context "" is not one of its contexts`},
	}
	for i, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			f := factory()
			f.Kubeconfig = filepath.Join(dir, fmt.Sprint(i))
			if err := os.WriteFile(f.Kubeconfig, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := f.Connect()
			if want := strings.ReplaceAll(c.err, "FILE", f.Kubeconfig); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want an error that begins with %q", err, want)
			}
		})
	}
	f := factory()
	f.Kubeconfig = filepath.Join(dir, "none")
	if _, err := f.Connect(); err == nil || err.Error() != "no kubeconfig at "+f.Kubeconfig+": it is named by --kubeconfig or $UMBEL_KUBECONFIG" {
		t.Errorf("a file that does not exist: got %v", err)
	}
}

// hubAt returns a Hub for a server that need not exist.
func hubAt(t *testing.T, server string, ca []byte) *Hub {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["hub"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}
	config.Contexts["hub"] = &clientcmdapi.Context{Cluster: "hub"}
	config.CurrentContext = "hub"
	f := factory()
	f.Kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, f.Kubeconfig); err != nil {
		t.Fatal(err)
	}
	hub, err := f.Connect()
	if err != nil {
		t.Fatal(err)
	}
	return hub
}

func TestExplain(t *testing.T) {
	const nobody = "127.0.0.1:1" // no port that anybody is given
	answer := func(code int, body string) *httptest.Server {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			fmt.Fprint(w, body)
		}))
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // it speaks of the client that does not trust it
		t.Cleanup(server.Close)
		return server
	}
	status := func(code int, reason, message string) string {
		return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":%q,"code":%d}`, reason, message, code)
	}
	trusted := func(server *httptest.Server) *Hub {
		return hubAt(t, server.URL, pem(server))
	}
	unauthorized := trusted(answer(401, status(401, "Unauthorized", "Unauthorized")))
	forbidden := trusted(answer(403, status(403, "Forbidden", `packages.umbel.dev is forbidden: User "eve" cannot list resource "packages"`)))
	other := trusted(answer(404, "404 page not found"))
	untrusted := hubAt(t, answer(200, "{}").URL, nil)
	cases := []struct {
		reason string
		hub    *Hub
		want   string
	}{
		{
			"nobody listens", hubAt(t, "https://"+nobody, nil),
			"the hub at https://" + nobody + " does not answer: is it running? `umbel up` starts it",
		},
		{
			"another hub, or an older one", untrusted,
			"the hub at " + untrusted.Config.Host + " is not the one that " + untrusted.kubeconfig + " trusts (x509: certificate signed by unknown authority): is the file of another hub, or an older one?",
		},
		{
			"credentials that are not accepted", unauthorized,
			"the hub at " + unauthorized.Config.Host + " does not accept the credentials in " + unauthorized.kubeconfig + ": they may have expired; `umbel up` renews those of a local hub, `umbel login` signs in to another",
		},
		{
			"something that is not allowed", forbidden,
			`packages.umbel.dev is forbidden: User "eve" cannot list resource "packages": ask an administrator of the hub for a Role that allows it`,
		},
		{
			"an API that is no hub", other,
			"the API at " + other.Config.Host + " does not serve umbel.dev/v1alpha1: is " + other.kubeconfig + " the kubeconfig of a hub?",
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			err := c.hub.List(t.Context(), &v1alpha1.PackageList{})
			got := c.hub.Explain(err)
			if got == nil || got.Error() != c.want {
				t.Errorf("got  %v\nwant %s", got, c.want)
			}
			if !errors.Is(got, err) {
				t.Error("the explanation lost its cause")
			}
			if again := c.hub.Explain(got); again != got {
				t.Errorf("explained twice: %v", again)
			}
		})
	}
}

func TestExplainsEachOfJoinedErrors(t *testing.T) {
	hub := hubAt(t, "https://127.0.0.1:1", nil)
	packages := v1alpha1.GroupVersion.WithResource("packages").GroupResource()
	err := hub.Explain(errors.Join(apierrors.NewNotFound(packages, "a"), errors.New("something else")))
	const want = "there is no package \"a\" in namespace \"default\": `umbel get packages -A` lists all\nsomething else"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func pem(server *httptest.Server) []byte {
	return encodepem.EncodeToMemory(&encodepem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}
