package machine

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/controlplane"
)

var update = flag.Bool("update", false, "write the golden files")

// The test program is its own other process: one that is the machine in a folder.
const holdDir = "MACHINE_TEST_HOLD"

func TestMain(m *testing.M) {
	dir := os.Getenv(holdDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	_, err := hold(dir)
	fmt.Println(err)
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is told to end, or killed
}

func spec() Spec {
	return Spec{
		Cluster:     "dev",
		Node:        "dev-0",
		Dir:         "/data/local/dev",
		Umbel:       "/bin/umbel",
		Kube:        "/bin/umbel-kube",
		Address:     netip.MustParseAddr("10.200.1.10"),
		Ports:       controlplane.Ports{API: 6443, Etcd: 2379, EtcdPeer: 2380},
		ServiceCIDR: netip.MustParsePrefix("10.129.0.0/16"),
		PodCIDR:     netip.MustParsePrefix("10.65.0.0/16"),
		NodePods:    netip.MustParsePrefix("10.65.0.0/24"),
		Host:        Host{CgroupRoot: "/umbel0-dev-0", PodCgroups: true, Snapshotter: "overlayfs", CNIDir: "/usr/lib/cni"},
	}
}

// further is a machine of the same cluster, whose control plane is on another.
func further() Spec {
	s := spec()
	s.Node, s.Dir, s.Address = "dev-1", "/data/local/dev/machines/dev-1", netip.MustParseAddr("10.200.1.11")
	s.NodePods, s.Main = netip.MustParsePrefix("10.65.1.0/24"), &Main{Dir: "/data/local/dev", Address: spec().Address}
	return s
}

func TestFilesGolden(t *testing.T) {
	bare := spec()
	bare.Host.PodCgroups, bare.Host.KeepOOMScore, bare.Host.MasqueradeAll = false, true, true
	for dir, s := range map[string]Spec{"full": spec(), "bare": bare, "further": further()} {
		for path, content := range s.Files() {
			compareGolden(t, filepath.Join(dir, filepath.Base(path)), content)
		}
	}
}

func TestFilesParse(t *testing.T) {
	for path, content := range spec().Files() {
		var err error
		var parsed any
		switch filepath.Ext(path) {
		case ".yaml":
			err = yaml.UnmarshalStrict([]byte(content), &parsed)
		case ".conflist":
			err = json.Unmarshal([]byte(content), &parsed)
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestProcesses(t *testing.T) {
	alone := spec()
	alone.Node = ""
	for _, c := range []struct {
		reason string
		spec   Spec
		want   []string
	}{
		{"a machine with a node", spec(), []string{
			"containerd", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
		}},
		{"a machine whose control plane is on another", further(), []string{"containerd", "kubelet", "kube-proxy"}},
		{"a control plane alone schedules nothing", alone, []string{"etcd", "kube-apiserver", "kube-controller-manager"}},
	} {
		processes, err := c.spec.Processes()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range processes {
			names = append(names, p.Name)
		}
		if diff := cmp.Diff(c.want, names); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", c.reason, diff)
		}
	}
}

func TestSpecIsKept(t *testing.T) {
	want := spec()
	want.Dir = t.TempDir()
	if err := want.Save(); err != nil {
		t.Fatal(err)
	}
	got, err := Load(want.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDNSAddressIsTheTenthOfTheRange(t *testing.T) {
	if got, want := spec().DNSAddress().String(), "10.129.0.10"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestHierarchies(t *testing.T) {
	for _, c := range []struct {
		reason    string
		mountinfo string
		want      []hierarchy
	}{
		{
			"version 1, and version 2 beside it without controllers",
			"34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n" +
				"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n" +
				"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
			[]hierarchy{
				{mount: "/sys/fs/cgroup/cpuset", cpuset: true}, {mount: "/sys/fs/cgroup/memory"},
				{mount: "/sys/fs/cgroup/unified", unified: true},
			},
		},
		{
			"version 2 alone",
			"22 27 0:21 / /proc rw - proc proc rw\n30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
			[]hierarchy{{mount: "/sys/fs/cgroup", unified: true}},
		},
		{"lines that say nothing", "\nx\n - \n", nil},
	} {
		if got := hierarchies(c.mountinfo); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.reason, got, c.want)
		}
	}
}

func TestCreateInUnifiedHierarchyDelegates(t *testing.T) {
	mount := t.TempDir() // as good as a cgroup file system for what is written where
	h := hierarchy{mount: mount, unified: true}
	if err := h.create("/umbel/x"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", "umbel"} {
		content, err := os.ReadFile(filepath.Join(mount, dir, "cgroup.subtree_control"))
		if want := "+" + podControllers[len(podControllers)-1]; err != nil || string(content) != want { // the last that was written
			t.Errorf("%q delegates %q (%v), want %q", dir, content, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(mount, "umbel/x/cgroup.subtree_control")); err == nil {
		t.Error("the machine's cgroup delegates before anybody asked: no process could enter it")
	}
}

func TestMountsBelow(t *testing.T) {
	mountinfo := "1 0 0:1 / / rw - ext4 /dev/vda rw\n" +
		"2 1 0:2 / /run rw - tmpfs tmpfs rw\n" +
		"3 2 0:3 / /run/netns/a rw - nsfs nsfs rw\n" +
		"4 2 0:4 / /run/with\\040space rw - tmpfs tmpfs rw\n" +
		"5 1 0:5 / /runner rw - tmpfs tmpfs rw\n"
	want := []string{"/run/with space", "/run/netns/a"}
	if diff := cmp.Diff(want, mountsBelow(mountinfo, "/run")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPIDFollowsTheLock(t *testing.T) {
	dir := t.TempDir()
	if pid, err := PID(dir); pid != 0 || err != nil {
		t.Errorf("got %d, %v where no machine ever was, want 0", pid, err)
	}
	if err := os.WriteFile(filepath.Join(dir, lockFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if pid, err := PID(dir); pid != 0 || err != nil {
		t.Errorf("got %d, %v with a lock file that nobody holds, want 0", pid, err)
	}
	if err := End(t.Context(), dir, 9); err != nil {
		t.Errorf("ending what does not run: %v", err)
	}
}

// TestCertificatesOfANodeAreRenewed at two thirds of their year, while the machine runs: for the keys that it has, by the cluster's CA. Of
// one that does not run they are left, since it has others when it starts.
func TestCertificatesOfANodeAreRenewed(t *testing.T) {
	main, second := spec(), further()
	main.Dir = t.TempDir()
	second.Dir = filepath.Join(main.Dir, MachinesDir, second.Node)
	second.Main.Dir = main.Dir
	made := time.Now()
	for _, s := range []Spec{main, second} {
		if err := s.Prepare(); err != nil {
			t.Fatal(err)
		}
	}
	ca := read(t, filepath.Join(main.Dir, "kube/pki/ca.crt"))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca))
	const day = 24 * time.Hour
	early, late := made.Add(240*day), made.Add(250*day)

	had := filesOf(t, second)
	if until, err := RenewIn(second.Dir, late); err != nil || !until.IsZero() || !maps.Equal(had, filesOf(t, second)) {
		t.Errorf("of a machine that does not run they were issued anew, until %s (%v)", until, err)
	}
	runsIn(t, second.Dir)
	until, err := RenewIn(second.Dir, early)
	if err != nil || until.Sub(made.Add(365*day)).Abs() > time.Minute || !maps.Equal(had, filesOf(t, second)) {
		t.Errorf("at day 240 they were issued anew, or end at another time than made: %s (%v)", until, err)
	}
	mine := filesOf(t, main)
	if err := main.renewCluster(late); err != nil { // as the main machine does for all
		t.Fatal(err)
	}
	for _, c := range []struct {
		spec Spec
		had  map[string]string
	}{{main, mine}, {second, had}} {
		has := filesOf(t, c.spec)
		if len(has) != 6 {
			t.Fatalf("%s has %d files of certificates and keys, want 6", c.spec.Node, len(has))
		}
		for file, content := range has {
			if key := strings.HasSuffix(file, ".key"); (content == c.had[file]) != key {
				t.Errorf("%s: %s was exchanged, or stayed; a key stays, a certificate does not", c.spec.Node, file)
			} else if key {
				continue
			}
			cert, err := identity.ParseCert([]byte(content))
			if err != nil {
				t.Fatal(err)
			}
			before, err := identity.ParseCert([]byte(c.had[file]))
			if err != nil {
				t.Fatal(err)
			}
			_, err = cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: made.Add(600 * day), KeyUsages: cert.ExtKeyUsage})
			if err != nil || cert.Subject.String() != before.Subject.String() || !cmp.Equal(cert.DNSNames, before.DNSNames) || !cmp.Equal(cert.PublicKey, before.PublicKey) {
				t.Errorf("%s: %s is of %s, was of %s (%v)", c.spec.Node, file, cert.Subject, before.Subject, err)
			}
		}
	}
	if until, err := RenewIn(second.Dir, late); err != nil || until.Sub(late.Add(365*day)).Abs() > time.Minute {
		t.Errorf("renewed, they end at %s, want a year after %s (%v)", until, late, err)
	}
	if now := read(t, filepath.Join(main.Dir, "kube/pki/ca.crt")); now != ca {
		t.Error("the cluster has another CA")
	}
}

// runsIn has another process be the machine in dir, as far as anybody who asks can see.
func runsIn(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdDir+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	if said, err := bufio.NewReader(out).ReadString('\n'); said != "<nil>\n" {
		t.Fatalf("holding %s: %s (%v)", dir, said, err)
	}
}

// filesOf are the certificates and keys of a node, by their files.
func filesOf(t *testing.T, s Spec) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, c := range s.certificates() {
		for _, suffix := range []string{".crt", ".key"} {
			all[filepath.Base(c.Files)+suffix] = read(t, c.Files+suffix)
		}
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func FuzzMountinfo(f *testing.F) {
	f.Add("34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n")
	f.Add(" - cgroup2")
	f.Fuzz(func(t *testing.T, mountinfo string) {
		hierarchies(mountinfo)
		for _, mount := range mountsBelow(mountinfo, "/run") {
			if !strings.HasPrefix(mount, "/run/") {
				t.Errorf("%q is not below /run", mount)
			}
		}
	})
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
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

// TestWhatNobodySupervisesIsKilled: a machine whose folder was removed runs on, and nothing but its cgroup tells what it is.
func TestWhatNobodySupervisesIsKilled(t *testing.T) {
	cgroup := t.TempDir() // as good as a cgroup for what is read where
	stray := exec.Command("sleep", "30")
	if err := stray.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stray.Process.Kill() }) // for when the test fails
	own := filepath.Join(cgroup, "machine")
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	// 0 is one outside of what can be seen, and the number after it of one that is gone.
	procs := fmt.Sprintf("0\n%d\n%d\n", 1<<22, stray.Process.Pid)
	if err := os.WriteFile(filepath.Join(own, "cgroup.procs"), []byte(procs), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := killAll(cgroup); err != nil {
		t.Fatal(err)
	}
	var ended *exec.ExitError
	if err := stray.Wait(); !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it ended by %v", err)
	}
	if err := killAll(filepath.Join(cgroup, "none")); err != nil {
		t.Errorf("a cgroup that is gone: %v", err)
	}
}
