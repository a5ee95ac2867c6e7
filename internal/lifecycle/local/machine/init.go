package machine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// searchPath is the PATH of everything in a machine.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// restartDelay is between the end of the runner and its next start.
const restartDelay = 200 * time.Millisecond

// Init is the first process of the machine in dir. It makes the machine, tells its parent, and then keeps the runner
// running and collects orphans until it gets SIGTERM, and the runner has stopped all others.
func Init(dir string) error {
	runtime.LockOSThread() // the runner is to end with the thread that started it
	spec, lock, err := begin(dir)
	if err := answer(err); err != nil {
		return err
	}
	defer lock.Close()
	return tend(spec)
}

// begin turns the calling process into the init of the machine in dir.
func begin(dir string) (Spec, io.Closer, error) {
	spec, err := Load(dir)
	if err != nil {
		return Spec{}, nil, err
	}
	lock, err := hold(dir)
	if err != nil {
		return Spec{}, nil, err
	}
	if spec.Node == "" {
		return spec, lock, nil
	}
	if os.Getpid() != 1 {
		return Spec{}, nil, errors.New("not the first process of its PID namespace")
	}
	if err := JoinCgroup(spec.Host.CgroupRoot); err != nil {
		return Spec{}, nil, err
	}
	keepers := []string{filepath.Dir(spec.Umbel), filepath.Dir(spec.Kube)}
	if spec.Audit != "" {
		keepers = append(keepers, spec.Audit)
	}
	if err := Isolate(spec.Dir, keepers...); err != nil {
		return Spec{}, nil, err
	}
	if err := unix.Sethostname([]byte(spec.Node)); err != nil {
		return Spec{}, nil, fmt.Errorf("setting host name %q: %w", spec.Node, err)
	}
	if !spec.kubelet() {
		return spec, lock, nil
	}
	if output, err := exec.Command("nft", "-f", spec.etc(masqueradeFile)).CombinedOutput(); err != nil {
		return Spec{}, nil, fmt.Errorf("letting pods out: nft -f %s: %w: %s", spec.etc(masqueradeFile), err, strings.TrimSpace(string(output)))
	}
	return spec, lock, nil
}

// Isolate gives the calling process, the first of its PID and mount namespaces, a /proc, a /run and a /var of its own: the last is var below
// dir. It shows it dir, and the folders to keep, where they were.
func Isolate(dir string, keepers ...string) error {
	// Nothing of ours is to reach the host. Shared again below, because the kubelet propagates mounts into pods.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var kept []*keptDir
	for _, path := range append([]string{dir}, keepers...) {
		k, err := keep(path)
		if err != nil {
			return err
		}
		kept = append(kept, k)
	}
	// What the host has mounted there would live on in here, other machines' network namespaces for one.
	for _, mount := range mountsBelow(string(mountinfo), "/run") {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("detaching %s: %w", mount, err)
		}
	}
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}{
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
		{filepath.Join(dir, "var"), "/var", "", unix.MS_BIND, ""},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", m.source, m.target, err)
		}
	}
	for _, k := range kept {
		if err := k.restore(); err != nil {
			return err
		}
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("sharing the mounts: %w", err)
	}
	return os.MkdirAll("/run/lock", 0o755)
}

// keptDir is a folder of the host that a mount may hide.
type keptDir struct {
	path string
	tree int // a copy of its mount, not attached anywhere
	info os.FileInfo
}

func keep(path string) (*keptDir, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return nil, fmt.Errorf("keeping %s: %w", path, err)
	}
	return &keptDir{path: path, tree: tree, info: info}, nil
}

// restore mounts the folder where it was, unless it is there still.
func (k *keptDir) restore() error {
	defer unix.Close(k.tree)
	if info, err := os.Stat(k.path); err == nil && os.SameFile(info, k.info) {
		return nil
	}
	if err := os.MkdirAll(k.path, 0o755); err != nil {
		return fmt.Errorf("keeping %s: %w", k.path, err)
	}
	if err := unix.MoveMount(k.tree, "", unix.AT_FDCWD, k.path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("keeping %s: %w", k.path, err)
	}
	return nil
}

// mountsBelow lists the mount points under dir in a /proc/self/mountinfo, the last that was mounted first.
func mountsBelow(mountinfo, dir string) []string {
	var below []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			below = append([]string{strings.ReplaceAll(fields[4], `\040`, " ")}, below...)
		}
	}
	return below
}

// tend keeps the runner running, and collects every process whose parent has ended.
func tend(spec Spec) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	runner, err := startRunner(spec)
	if err != nil {
		return err
	}
	restart := time.NewTimer(restartDelay)
	restart.Stop()
	ending := false
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGCHLD {
				ending = true
				if runner == 0 {
					return nil
				}
				if err := syscall.Kill(runner, syscall.SIGTERM); err != nil {
					return err
				}
			}
		case <-restart.C:
			if runner, err = startRunner(spec); err != nil {
				return err
			}
		}
		if !collect(runner) {
			continue
		}
		if ending {
			return nil
		}
		runner = 0
		restart.Reset(restartDelay)
	}
}

// collect waits for every process that has ended, and says whether the one of that pid was among them.
func collect(pid int) (found bool) {
	for {
		ended, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || ended <= 0 {
			return found
		}
		found = found || ended == pid
	}
}

func startRunner(spec Spec) (pid int, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	// Not os/exec: collect waits for all children, this one too.
	pid, err = syscall.ForkExec(spec.Umbel, []string{spec.Umbel, "local", "machine-run", "--dir", spec.Dir}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   os.Environ(),
		Files: []uintptr{null.Fd(), 1, 2},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return 0, fmt.Errorf("starting the runner of cluster %q: %w", spec.Cluster, err)
	}
	return pid, nil
}
