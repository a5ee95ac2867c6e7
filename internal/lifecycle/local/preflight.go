package local

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/lifecycle/local/machine"
)

// MissingError says what this computer lacks for clusters with nodes, and how to get it.
type MissingError struct {
	// Tools are what was looked for and not found.
	Tools []string
	// Packages are the Debian packages that have them.
	Packages []string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("a cluster with a node needs %s: run `apt-get install -y %s`, or make the cluster with --nodes=0",
		strings.Join(e.Tools, ", "), strings.Join(e.Packages, " "))
}

// RootError says that the user may not make clusters with nodes.
type RootError struct{}

func (*RootError) Error() string {
	return "a cluster with a node needs root, for its namespaces: run as root, or make the cluster with --nodes=0"
}

// tools are the programs that a node runs, with the Debian package of each.
var tools = []struct{ name, pkg string }{
	{"containerd", "containerd"},
	{"containerd-shim-runc-v2", "containerd"},
	{"ctr", "containerd"},
	{"runc", "runc"},
	{"iptables", "iptables"},
	{"nft", "nftables"},
	{"mount", "mount"},
}

// plugins are the CNI plugins that a node runs, all of one Debian package.
var plugins = []string{"bridge", "host-local", "loopback", "portmap"}

const pluginsPackage = "containernetworking-plugins"

// cniDirs are where distributions put CNI plugins.
var cniDirs = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

// searchDirs are looked at for tools; a root shell does not always have all in its PATH.
var searchDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// CheckNodes reports why no cluster with a node can be made here: *RootError, *MissingError, or nil if it can.
func CheckNodes() error {
	if os.Geteuid() != 0 {
		return &RootError{}
	}
	missing := &MissingError{}
	for _, tool := range tools {
		if findIn(searchDirs, tool.name) == "" {
			missing.add(tool.name, tool.pkg)
		}
	}
	for _, plugin := range plugins {
		if findIn(cniDirs, plugin) == "" {
			missing.add("the CNI plugin "+plugin, pluginsPackage)
		}
	}
	if len(missing.Tools) > 0 {
		return missing
	}
	return nil
}

func (e *MissingError) add(tool, pkg string) {
	e.Tools = append(e.Tools, tool)
	if !slices.Contains(e.Packages, pkg) {
		e.Packages = append(e.Packages, pkg)
	}
}

func findIn(dirs []string, name string) string {
	for _, dir := range dirs {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && !info.IsDir() {
			return dir
		}
	}
	return ""
}

// InspectHost finds out what a node may do on this computer, and makes its cgroup, which is part of the answer.
func InspectHost(dir, cgroup string) (machine.Host, error) {
	podCgroups, err := machine.CreateCgroup(cgroup)
	if err != nil {
		return machine.Host{}, err
	}
	host := machine.Host{
		CgroupRoot:  cgroup,
		PodCgroups:  podCgroups,
		Snapshotter: "overlayfs",
		CNIDir:      findIn(cniDirs, plugins[0]),
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return machine.Host{}, err
	}
	host.KeepOOMScore = !hasCapability(string(status), unix.CAP_SYS_RESOURCE)
	if _, err := os.Stat("/proc/sys/net/bridge/bridge-nf-call-iptables"); err != nil {
		host.MasqueradeAll = true
	}
	var filesystem unix.Statfs_t
	if err := unix.Statfs(dir, &filesystem); err != nil {
		return machine.Host{}, fmt.Errorf("looking at the file system of %s: %w", dir, err)
	}
	if filesystem.Type == unix.OVERLAYFS_SUPER_MAGIC {
		host.Snapshotter = "native"
	}
	return host, nil
}

// hasCapability reads a /proc/PID/status.
func hasCapability(status string, capability uint) bool {
	for line := range strings.Lines(status) {
		value, ok := strings.CutPrefix(line, "CapEff:")
		if !ok {
			continue
		}
		effective, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		return err == nil && effective&(1<<capability) != 0
	}
	return false
}
