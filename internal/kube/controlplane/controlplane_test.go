package controlplane

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

var update = flag.Bool("update", false, "write the golden files")

func config() Config {
	return Config{
		Name:        "dev",
		Dir:         "/data/dev",
		Binary:      "/bin/umbel-kube",
		Address:     netip.MustParseAddr("10.200.1.10"),
		Ports:       Ports{API: 6443, Etcd: 2379, EtcdPeer: 2380},
		ServiceCIDR: netip.MustParsePrefix("10.129.0.0/16"),
		PodCIDR:     netip.MustParsePrefix("10.65.0.0/16"),
		Components:  []Component{ControllerManager, Scheduler},
	}
}

func TestProcessesGolden(t *testing.T) {
	alone := config()
	alone.Address = netip.MustParseAddr("127.0.0.1")
	alone.PodCIDR = netip.Prefix{}
	alone.Components = []Component{ControllerManager}
	third := config()
	third.Services = ByEndpoint
	third.Member = &Member{Name: "dev-34", Address: netip.MustParseAddr("10.200.1.44"), Join: []string{
		"dev-0=https://10.200.1.42:2380", "dev-33=https://10.200.1.43:2380", "dev-34=https://10.200.1.44:2380",
	}}
	joined := config()
	joined.Enrolment = ByToken
	for file, c := range map[string]Config{"node.golden": config(), "alone.golden": alone, "member.golden": third, "joined.golden": joined} {
		plane, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, p := range plane.Processes() {
			text.WriteString(p.Path + " " + strings.Join(p.Args, "\n    ") + "\n  after " + strings.Join(p.After, ", ") + "\n")
		}
		compareGolden(t, file, text.String())
	}
}

func TestNoInsecureFlag(t *testing.T) {
	plane, err := New(config())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plane.Processes() {
		flags := strings.Join(p.Args, " ")
		for _, word := range []string{"http://", "insecure", "unsafe", "AlwaysAllow", "anonymous-auth=true"} {
			if strings.Contains(flags, word) {
				t.Errorf("%s has %q in its flags: %s", p.Name, word, flags)
			}
		}
	}
}

func TestNewNamesTheFieldThatDoesNotFit(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"Name is empty":                              func(c *Config) { c.Name = "" },
		`"dev": Dir "relative" is not absolute`:      func(c *Config) { c.Dir = "relative" },
		`"dev": Binary "umbel-kube" is not`:          func(c *Config) { c.Binary = "umbel-kube" },
		`"dev": Address is missing`:                  func(c *Config) { c.Address = netip.Addr{} },
		`"dev": ServiceCIDR is missing`:              func(c *Config) { c.ServiceCIDR = netip.Prefix{} },
		`"dev": port 0 is not within 1..65535`:       func(c *Config) { c.Ports.Etcd = 0 },
		"PodCIDR 10.129.1.0/24 overlaps ServiceCIDR": func(c *Config) { c.PodCIDR = netip.MustParsePrefix("10.129.1.0/24") },
	} {
		c := config()
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
}

func TestPrepareKeepsWhatMustLastAndRenewsTheRest(t *testing.T) {
	c := config()
	c.Dir = t.TempDir()
	plane, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	read := func() map[string]string {
		if err := plane.Prepare(); err != nil {
			t.Fatal(err)
		}
		files := map[string]string{}
		for _, pattern := range []string{"pki/*", "*.kubeconfig"} {
			paths, err := filepath.Glob(filepath.Join(c.Dir, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range paths {
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				files[filepath.Base(path)] = string(content)
			}
		}
		return files
	}
	first, second := read(), read()
	lasting := map[string]bool{
		"ca.crt": true, "ca.key": true, "etcd-ca.crt": true, "etcd-ca.key": true, "front-proxy-ca.crt": true, "front-proxy-ca.key": true,
		"service-account.key": true, "service-account.pub": true,
	}
	pointing := map[string]bool{"controller-manager.kubeconfig": true, "scheduler.kubeconfig": true} // at files that are others
	for name := range first {
		if same := first[name] == second[name]; same != (lasting[name] || pointing[name]) {
			t.Errorf("%s stayed the same: %t, want %t", name, same, lasting[name])
		}
	}
	if len(first) != len(lasting)+2*len(plane.leaves())+len(plane.kubeconfigs()) {
		t.Errorf("got %d files: %v", len(first), first)
	}
}

// TestAMemberWithoutDataDoesNotBegin unless somebody has let it, once; and its keys are those of the others.
func TestAMemberWithoutDataDoesNotBegin(t *testing.T) {
	member := func(dir string) *ControlPlane {
		c := config()
		c.Dir, c.Member = dir, &Member{Name: "dev-0", Address: netip.MustParseAddr("10.200.1.42")}
		plane, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		return plane
	}
	first := member(t.TempDir())
	before := first.Processes()[0].Before
	if err := before(); err == nil || !strings.Contains(err.Error(), "it has lost its data") {
		t.Errorf("without data: got %v", err)
	}
	if err := first.MayBegin(); err != nil {
		t.Fatal(err)
	}
	if err := before(); err != nil {
		t.Errorf("when it may: %v", err)
	}
	if err := before(); err == nil {
		t.Error("it may begin again, without data")
	}
	if err := os.MkdirAll(first.path("etcd/member/wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := before(); err == nil || !strings.Contains(err.Error(), "it has lost its data") {
		t.Errorf("with a folder that was emptied: got %v", err)
	}
	if err := os.WriteFile(first.path("etcd/member/wal/0000000000000000-0000000000000000.wal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := before(); err != nil {
		t.Errorf("with data: %v", err)
	}
	if err := first.Forget(); err != nil {
		t.Fatal(err)
	}
	if has, err := first.HasData(); has || err != nil {
		t.Errorf("what was forgotten is there: %t, %v", has, err)
	}

	if err := first.Prepare(); err != nil {
		t.Fatal(err)
	}
	second := member(t.TempDir())
	if err := second.Inherit(first); err != nil {
		t.Fatal(err)
	}
	if err := second.Prepare(); err != nil {
		t.Fatal(err)
	}
	for _, name := range lasting {
		a, errA := os.ReadFile(first.pki(name))
		b, errB := os.ReadFile(second.pki(name))
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("%s is not the same for both members (%v, %v)", name, errA, errB)
		}
	}
}

func TestAdminIsNoMaster(t *testing.T) {
	c := config()
	c.Dir = t.TempDir()
	plane, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := plane.Prepare(); err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := clientcmd.BuildConfigFromFlags("", plane.AdminKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := identity.ParseCert(kubeconfig.CertData)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{v1alpha1.AdminGroup}, cert.Subject.Organization); diff != "" {
		t.Errorf("groups of the administrator (-want +got):\n%s", diff)
	}
	if want := "https://10.200.1.10:6443"; kubeconfig.Host != want {
		t.Errorf("got server %s, want %s", kubeconfig.Host, want)
	}
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), `go test -update` writes it:\n%s", path, diff)
	}
}
