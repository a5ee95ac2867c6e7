package login_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"umbel.dev/umbel/internal/cli"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/login/session"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/identity/oidctest"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// TestMain is umbel itself when kubectl calls it for a credential: kubeconfigs name the program that wrote them.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "credential" {
		root := cli.NewRoot(client.New(output.System()))
		root.SetArgs(os.Args[1:])
		err := root.Execute()
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
		}
		os.Exit(exit.Code(err))
	}
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	code := kubetest.Main(m)
	if shared.stop != nil {
		shared.stop()
	}
	os.Exit(code)
}

// shared is the hub of this test process: it has room for one. Each test gives it a provider of its own.
var shared struct {
	once sync.Once
	// address is where it is, ca and authentication are files: its authority, and whom it trusts.
	address, ca, authentication string
	stop                        func()
	err                         error
}

// scene is a hub that trusts a provider, and somebody's computer.
type scene struct {
	t        *testing.T
	provider *oidctest.Provider
	// api is the hub's API, with all rights.
	api *rest.Config
	// hub is its URL, ca the file with its authority.
	hub, ca string
	// home and kubeconfig are the person's.
	home, kubeconfig string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, provider: oidctest.Start(t), api: kubetest.Start(t), home: t.TempDir()}
	s.kubeconfig = filepath.Join(s.home, "kubeconfig")
	for name, value := range map[string]string{
		"KUBECONFIG": s.kubeconfig, "UMBEL_HOME": s.home, "UMBEL_KUBECONFIG": "", "BROWSER": "/nowhere/browser",
	} {
		t.Setenv(name, value)
	}
	s.startHub()
	return s
}

// startHub has the hub trust the provider of this test, and nobody else.
func (s *scene) startHub() {
	s.t.Helper()
	shared.once.Do(func() { shared.err = s.runHub() })
	if shared.err != nil {
		s.t.Fatal(shared.err)
	}
	s.hub, s.ca = "https://"+shared.address, shared.ca
	if err := os.WriteFile(shared.authentication, []byte(s.provider.Configuration()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.eventually("the hub trusts the provider", func() error {
		got := s.run("", "login", s.hub, "--ca", s.ca, "--issuer", "https://nobody.example.com")
		if want := "does not trust https://nobody.example.com, but " + s.provider.Issuer; !strings.Contains(got.err, want) {
			return errors.New(got.err)
		}
		return nil
	})
}

// runHub runs a whole hub on the API that tests share.
func (s *scene) runHub() error {
	kube, err := kubetest.Binary()
	if err != nil {
		return err
	}
	home, err := os.MkdirTemp("", "umbel-login-")
	if err != nil {
		return err
	}
	// Any program that is linked statically can be the agent's image.
	if err := os.Symlink(filepath.Join(filepath.Dir(kube), "umbel-pause"), filepath.Join(home, "umbel-agent")); err != nil {
		return err
	}
	state, err := hub.LoadState(home, hub.Changes{})
	if err != nil {
		return err
	}
	shared.address, shared.ca, shared.authentication = state.Address, state.CAFile, filepath.Join(home, "authentication.yaml")
	if err := os.WriteFile(shared.authentication, []byte(s.provider.Configuration()), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	ended := make(chan error, 1)
	options := hub.Options{
		Home: home, Kubeconfig: kubetest.Kubeconfig(s.t, s.api), Programs: home, CertificateLife: time.Hour, Authentication: &shared.authentication,
		Listen: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Log: slog.New(slog.DiscardHandler),
	}
	go func() { ended <- hub.Run(ctx, options) }()
	shared.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			fmt.Fprintln(os.Stderr, "the hub ended with", err)
		}
		_ = os.RemoveAll(home)
	}
	return nil
}

func (s *scene) eventually(what string, check func() error) {
	s.t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(s.t.Context(), 50*time.Millisecond, 3*time.Minute, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		s.t.Fatalf("%s: %v (last: %v)", what, err, last)
	}
}

// said is what a command said, and how it ended.
type said struct {
	out, err string
	code     int
}

// run runs umbel as the person, who types in.
func (s *scene) run(in string, args ...string) said {
	s.t.Helper()
	return s.runSeeing(in, nil, args...)
}

// runSeeing is run with somebody who reads each line that is shown, as it is shown.
func (s *scene) runSeeing(in string, see func(line string), args ...string) said {
	s.t.Helper()
	var out bytes.Buffer
	reader, shown := io.Pipe()
	var text strings.Builder
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(reader)
		for lines.Scan() {
			text.WriteString(lines.Text() + "\n")
			if see != nil {
				see(lines.Text())
			}
		}
	})
	root := cli.NewRoot(client.New(output.Streams{In: strings.NewReader(in), Out: &out, Err: shown}))
	root.SetArgs(args)
	err := root.ExecuteContext(s.t.Context())
	if err != nil {
		fmt.Fprintln(shown, "error:", err)
	}
	shown.Close()
	reading.Wait()
	return said{out: out.String(), err: text.String(), code: exit.Code(err)}
}

// login signs a person in, by any address that umbel shows.
func (s *scene) login(who oidctest.Person, in string, args ...string) said {
	s.t.Helper()
	var browsing sync.WaitGroup
	defer browsing.Wait()
	return s.runSeeing(in, func(line string) {
		if address := strings.TrimSpace(line); strings.HasPrefix(address, s.provider.Issuer) {
			browsing.Go(func() {
				if text, at, err := s.provider.Browse(who, address); err != nil {
					s.t.Errorf("in the browser, at %s: %v\n%s", at, err, text)
				}
			})
		}
	}, append([]string{"login", s.hub}, args...)...)
}

func (s *scene) store() session.Store { return session.In(s.home, time.Now) }

func (s *scene) session() *session.Session {
	s.t.Helper()
	got, err := s.store().Load(s.hub)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

// expire lets the token of the session be as old as it will be one day.
func (s *scene) expire() {
	s.t.Helper()
	got := s.session()
	got.Expires = time.Now().Add(-time.Minute)
	if err := s.store().Save(got); err != nil {
		s.t.Fatal(err)
	}
}

// secret fails when any token of the session is in the text.
func (s *scene) secret(what, text string) {
	s.t.Helper()
	current := s.session()
	parts := append(strings.Split(current.IDToken, "."), current.RefreshToken)
	for _, part := range parts[1:] { // the head says nothing
		if strings.Contains(text, part) {
			s.t.Errorf("%s tells a token:\n%s", what, text)
		}
	}
}

func mustSay(t *testing.T, what string, got said, code int, want ...string) {
	t.Helper()
	if got.code != code {
		t.Errorf("%s: ended with %d, want %d:\n%s%s", what, got.code, code, got.out, got.err)
	}
	for _, w := range want {
		if !strings.Contains(got.out+got.err, w) {
			t.Errorf("%s: got\n%s%s\nwant that it says %q", what, got.out, got.err, w)
		}
	}
}

// credential is the program that kubectl calls, as a process of its own.
func (s *scene) credential() (token string, said string, err error) {
	cmd := exec.CommandContext(s.t.Context(), os.Args[0], "credential", s.hub, "--home", s.home)
	var out, shown bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &shown
	if err := cmd.Run(); err != nil {
		return "", out.String() + shown.String(), err
	}
	var credential struct {
		APIVersion, Kind string
		Status           struct{ Token string }
	}
	if err := json.Unmarshal(out.Bytes(), &credential); err != nil {
		return "", out.String(), err
	}
	if credential.APIVersion != "client.authentication.k8s.io/v1" || credential.Kind != "ExecCredential" {
		return "", "", fmt.Errorf("it printed a %s of %s", credential.Kind, credential.APIVersion)
	}
	return credential.Status.Token, "", nil
}

// kubectl is the real one, with the person's kubeconfig.
func (s *scene) kubectl(args ...string) said {
	s.t.Helper()
	kube, err := kubetest.Binary()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), kube, append([]string{"kubectl"}, args...)...)
	var out, shown bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &shown
	_ = cmd.Run() // its code says it
	return said{out: out.String(), err: shown.String(), code: cmd.ProcessState.ExitCode()}
}

func (s *scene) loadKubeconfig(path string) string {
	s.t.Helper()
	if _, err := clientcmd.LoadFromFile(path); err != nil {
		s.t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(raw)
}
