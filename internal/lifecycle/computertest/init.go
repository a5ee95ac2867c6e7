package computertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/kube/process"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
)

const (
	// asComputer in the environment makes a test's program the first process of the computer in that folder, asRunner what it runs.
	asComputer = "UMBEL_TEST_COMPUTER"
	asRunner   = "UMBEL_TEST_COMPUTER_RUNS"
	// searchPath is the PATH of everything in a computer, after its own programs.
	searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	socket     = "/run/containerd/containerd.sock"
)

// Main is a computer, if that is what the process was started for, and does not return then.
func Main() {
	var err error
	if dir := os.Getenv(asRunner); dir != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err = run(ctx, dir)
	} else if dir := os.Getenv(asComputer); dir != "" {
		err = begin(dir)
	} else {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// system is what is on a computer's disk when it boots, in system.json of its folder.
type system struct {
	machine.Spec
	Kubeadm, ProviderID, UserData string
	Images                        []string // files, for `ctr images import`
}

func load(dir string) (s system, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, "system.json"))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(raw, &s)
}

// prepare writes all that the computer reads.
func (s system) prepare() error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	files := s.Files()
	files[filepath.Join(s.Dir, "system.json")] = string(raw)
	files[filepath.Join(s.Dir, "etc/kubelet.d/10-computer.conf")] = s.kubelet()
	for path, content := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	bin := filepath.Join(s.Dir, "bin")
	return errors.Join(
		s.PrepareVar(), os.MkdirAll(bin, 0o755), os.MkdirAll(filepath.Join(s.Dir, "kube"), 0o755), os.MkdirAll(filepath.Join(s.Dir, "logs"), 0o755),
		os.Symlink(s.Kube, filepath.Join(bin, "kubelet")), os.Symlink(s.Kube, filepath.Join(bin, "kubectl")),
		os.Symlink("/etc/kubernetes/kubelet.conf", filepath.Join(s.Dir, "kube/kube-proxy.kubeconfig")),
		os.WriteFile(filepath.Join(bin, "kubeadm"), []byte(s.kubeadm()), 0o755),
	)
}

// kubeadm is kubeadm without what the computer has in another way, or not at all (see the package's comment). Of the addon kube-proxy
// there are the rights.
func (s system) kubeadm() string {
	return fmt.Sprintf(`#!/bin/sh
case "$1" in
init)
	shift
	%[1]s init --skip-phases=preflight,addon "$@" || exit
	exec kubectl --kubeconfig /etc/kubernetes/super-admin.conf create clusterrolebinding kube-proxy --clusterrole=system:node-proxier --group=system:nodes ;;
join) shift; exec %[1]s join --skip-phases=preflight "$@" ;;
esac
exec %[1]s "$@"
`, s.Kubeadm)
}

// kubelet is what an image says of its kubelet beside kubeadm: what package machine says of those of its own.
func (s system) kubelet() string {
	enforce, oomScore := "[pods]", "-999"
	if !s.Host.PodCgroups {
		enforce = "[]"
	}
	if s.Host.KeepOOMScore {
		oomScore = "0"
	}
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://%s
cgroupDriver: cgroupfs
cgroupRoot: %s
cgroupsPerQOS: %t
enforceNodeAllocatable: %s
oomScoreAdj: %s
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
resolvConf: %s
providerID: %q
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: 200Mi, imagefs.available: 200Mi}
`, socket, s.Host.CgroupRoot, s.Host.PodCgroups, enforce, oomScore, filepath.Join(s.Dir, "etc/resolv.conf"), s.ProviderID)
}

// processes are those of package machine, with a kubelet that kubeadm tells what to be. Both of Kubernetes wait for what they read.
func (s system) processes() ([]process.Process, error) {
	own, err := s.Processes()
	if err != nil {
		return nil, err
	}
	var all []process.Process
	for _, p := range own {
		switch p.Name {
		case "kubelet":
			p.Path, p.Args = "sh", []string{"-c", fmt.Sprintf(`
until [ -e /var/lib/kubelet/kubeadm-flags.env ]; do sleep 0.2; done
. /var/lib/kubelet/kubeadm-flags.env
exec kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml \
	--config-dir=%s $KUBELET_KUBEADM_ARGS --node-ip=%s --cloud-provider=`, filepath.Join(s.Dir, "etc/kubelet.d"), s.Address)}
		case "kube-proxy":
			line := fmt.Sprintf("until [ -e /etc/kubernetes/kubelet.conf ]; do sleep 0.2; done; exec %s kube-proxy %s", p.Path, strings.Join(p.Args[1:], " "))
			p.Path, p.Args = "sh", []string{"-c", line}
		}
		all = append(all, p)
	}
	return all, nil
}

// begin turns the calling process into the first one of a computer, and ends with what it runs, or with the test.
func begin(dir string) error {
	s, err := load(dir)
	if err != nil {
		return err
	}
	if err := machine.JoinCgroup(s.Host.CgroupRoot); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if err := machine.Isolate(dir, filepath.Dir(s.Kube), filepath.Dir(s.Kubeadm), filepath.Dir(program), filepath.Dir(s.Images[0])); err != nil {
		return err
	}
	for _, tree := range []string{"/etc", "/usr"} {
		if err := cover(tree); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte(s.Node)); err != nil {
		return fmt.Errorf("setting host name %q: %w", s.Node, err)
	}
	if output, err := exec.Command("nft", "-f", filepath.Join(dir, "etc/masquerade.nft")).CombinedOutput(); err != nil {
		return fmt.Errorf("letting pods out: %w: %s", err, output)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.NewFile(3, "life"))
		os.Exit(1) // the kernel ends all others with it
	}()
	runner, err := syscall.ForkExec(program, []string{program}, &syscall.ProcAttr{ // not os/exec: all children are waited for below
		Dir: "/", Env: append(os.Environ(), asRunner+"="+dir), Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		return err
	}
	for {
		ended, err := syscall.Wait4(-1, nil, 0, nil)
		if ended == runner || err != nil && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("what the computer runs has ended (%v)", err)
		}
	}
}

// cover lets what is written below a folder of the host be the computer's alone.
func cover(tree string) error {
	over := filepath.Join("/run/over", tree)
	upper, work := filepath.Join(over, "upper"), filepath.Join(over, "work")
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	if err := unix.Mount("overlay", tree, "overlay", 0, "lowerdir="+tree+",upperdir="+upper+",workdir="+work); err != nil {
		return fmt.Errorf("covering %s: %w", tree, err)
	}
	return nil
}

// run runs what the computer runs, and does what its user data says.
func run(ctx context.Context, dir string) error {
	s, err := load(dir)
	if err != nil {
		return err
	}
	processes, err := s.processes()
	if err != nil {
		return err
	}
	logs := filepath.Join(dir, "logs")
	supervisor, err := process.New(process.Config{Processes: processes, LogDir: logs, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(logs, "cloud-init.log"))
	if err != nil {
		return err
	}
	var booting sync.WaitGroup
	booting.Go(func() {
		defer log.Close()
		if err := s.cloudInit(ctx, log); err != nil {
			fmt.Fprintf(log, "the computer does not come up: %v\n", err)
			return
		}
		fmt.Fprintln(log, "the computer is up")
	})
	defer booting.Wait()
	return supervisor.Run(ctx)
}
