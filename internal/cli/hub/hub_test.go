package hub

import (
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
)

func TestArgumentsBecomeOptions(t *testing.T) {
	t.Chdir(t.TempDir())
	f := client.New(output.Streams{Err: io.Discard})
	f.Home, f.Kubeconfig = "here", "/hub.kubeconfig"
	o := &Options{
		Factory: f, Listen: []string{"127.0.0.1", "2001:db8::1"}, Advertise: "192.0.2.10",
		LocalSources: []string{"git", "/srv/git"}, CertificateLife: time.Hour, MetricsRetention: 24 * time.Hour, MetricsSize: "1Gi",
	}
	got, err := o.complete()
	if err != nil {
		t.Fatal(err)
	}
	below := func(name string) string {
		path, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	if got.Home != below("here") || got.Kubeconfig != "/hub.kubeconfig" || got.CertificateLife != time.Hour || got.Programs == "" || got.Log == nil {
		t.Errorf("got %+v", got)
	}
	if got.MetricsRetention != 24*time.Hour || got.MetricsSize != 1<<30 {
		t.Errorf("metrics are kept for %s in %d bytes", got.MetricsRetention, got.MetricsSize)
	}
	if diff := cmp.Diff([]string{below("git"), "/srv/git"}, got.LocalSources); diff != "" {
		t.Errorf("local sources (-want +got):\n%s", diff)
	}
	if len(got.Listen) != 2 || got.Listen[1] != netip.MustParseAddr("2001:db8::1") || got.Advertise != "192.0.2.10" {
		t.Errorf("it listens on %v and advertises %v", got.Listen, got.Advertise)
	}
}

func TestArgumentsThatMakeNoSense(t *testing.T) {
	for _, c := range []struct{ args, err string }{
		{"--listen hub.example.com", `--listen "hub.example.com" is not an IP address, such as 192.0.2.10`},
		{"--advertise 192.0.2.10:0", `--advertise "192.0.2.10:0" is neither HOST nor HOST:PORT, such as hub.example.com:443 or 192.0.2.10`},
		{"--advertise https://hub", `--advertise "https://hub" is neither HOST nor HOST:PORT, such as hub.example.com:443 or 192.0.2.10`},
		{"--replica hub-0", "--replica needs --replica-address: the others reach members by it that are connected to this one"},
		{"--replica Hub --replica-address 10.0.0.7:8443", `--replica "Hub": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`},
		{"--replica hub-0 --replica-address 10.0.0.7:8443", "--replica needs --kubeconfig and --registry: replicas share an API and a registry"},
		{"--member-certificate-life -1h", "--member-certificate-life is -1h0m0s: no agent could use a certificate"},
		{"--metrics-retention -1h", "--metrics-retention is -1h0m0s: nothing would be kept"},
		{"--metrics-size much", `--metrics-size "much" is no number of bytes, such as 10Gi`},
		{"--authentication-config /nowhere.yaml", "--authentication-config: reading the authentication configuration: open /nowhere.yaml: no such file or directory"},
		{"here", "\"here\" is too much: `hub --help` shows examples"},
	} {
		cmd := NewCmd(client.New(output.Streams{Err: io.Discard}))
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs(strings.Fields(c.args))
		err := cmd.ExecuteContext(t.Context())
		if err == nil || err.Error() != c.err || exit.Code(err) != exit.Misuse {
			t.Errorf("umbel hub %s: got %v with code %d, want %q", c.args, err, exit.Code(err), c.err)
		}
	}
}
