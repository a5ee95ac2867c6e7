// Package computertest answers: what is a computer to tests that a cloud would have, and that boots by what cloud-init finds in it? It is a machine
// on this one (package machine): Linux namespaces with an address, containerd, a kubelet and kubeadm, as on an image for Cluster API. Nothing of the
// cluster is known to it but what its user data says.
//
//  1. Main is the first thing in the TestMain of whoever boots one: a computer's first process is the test's own program.
//  2. Boot makes namespaces and folders, and starts that process, which stands in for the system of a computer: init.go.
//  3. It starts containerd, has the images that a registry would have (image.go), and does what the user data says (cloudinit.go).
//  4. The kubelet starts when kubeadm has written what it reads.
//
// What differs from a computer of a cloud: there is no systemd; images of Kubernetes are there and need not be pulled; kube-proxy runs beside the
// kubelet, with the rights of its node, for there is no image of it; the network of pods is that of package machine, where a CNI plugin's would be; and the
// kubelet is told who the computer is, which a cloud's controller would do. So kubeadm is started without its preflight checks and its addons.
package computertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
	"umbel.dev/umbel/internal/lifecycle/local/network"
	"umbel.dev/umbel/internal/programtest"
)

// most is how many computers there can be at once.
const most = 20

// cluster is the number of a cluster in the addresses of a fleet that no cluster of package local comes to.
const cluster = 250

var (
	services = netip.MustParsePrefix("10.96.0.0/12")  // kubeadm's own
	pods     = netip.MustParsePrefix("10.250.0.0/16") // no fleet's machines are there
)

// Computer is one that is to boot.
type Computer struct {
	// Name is its host name.
	Name string
	// ProviderID is by what Kubernetes knows it.
	ProviderID string
	// UserData is what cloud-init finds in it.
	UserData string
}

// Computers are those of a test.
type Computers struct {
	// Balancers is an address of this computer that all of them reach, and that nobody else has.
	Balancers string
	// Registries are those that computers pull from. It is said before the first one boots.
	Registries []local.Registry

	dir, kube, kubeadm string
	images             []string
	fleet              network.Fleet

	mu     sync.Mutex
	booted map[string]*booted
	taken  [most]bool
}

// booted is a computer that has been started.
type booted struct {
	number  int
	dir     string
	network network.Machine
	command *exec.Cmd
	life    io.Closer // it ends with this
}

// New returns the computers of a test, on the bridge of a data folder; all of them end with the test.
func New(t testing.TB, home string) *Computers {
	t.Helper()
	if err := local.CheckNodes(); err != nil {
		t.Fatal(err)
	}
	c := &Computers{dir: t.TempDir(), kube: programtest.Of(t, "umbel-kube"), kubeadm: programtest.Of(t, "kubeadm"), booted: map[string]*booted{}}
	var err error
	if c.images, err = writeImages(c.dir, c.kube, c.kubeadm, programtest.Of(t, "umbel-pause")); err != nil {
		t.Fatal(err)
	}
	_, had, err := network.Find(home)
	if err == nil {
		c.fleet, err = network.Claim(home, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.tell(t)
		}
		for _, name := range c.Booted() {
			if err := c.End(context.WithoutCancel(t.Context()), name); err != nil {
				t.Error(err)
			}
		}
		if had {
			return
		}
		if err := network.Release(home); err != nil {
			t.Error(err)
		}
	})
	balancers := c.fleet.Hub().Next()
	if err := c.serveAt(balancers); err != nil {
		t.Fatal(err)
	}
	c.Balancers = balancers.String()
	return c
}

// serveAt gives this computer an address on the bridge.
func (c *Computers) serveAt(address netip.Addr) error {
	bridge, err := netlink.LinkByName(c.fleet.Bridge())
	if err != nil {
		return fmt.Errorf("looking up bridge %s: %w", c.fleet.Bridge(), err)
	}
	return netlink.AddrReplace(bridge, &netlink.Addr{IPNet: &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(32, 32)}})
}

// Booted returns the names of the computers that have been booted and not ended.
func (c *Computers) Booted() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for name := range c.booted {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// Boot starts a computer, and returns its address when its system runs. What its user data says happens after that.
func (c *Computers) Boot(ctx context.Context, computer Computer) (address string, err error) {
	b, err := c.place(computer.Name)
	if err != nil {
		return "", err
	}
	if err := c.start(ctx, b, computer); err != nil {
		return "", fmt.Errorf("booting computer %s: %w", computer.Name, errors.Join(err, c.End(ctx, computer.Name)))
	}
	return b.network.Address.String(), nil
}

// place gives a computer its place.
func (c *Computers) place(name string) (*booted, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	number := slices.Index(c.taken[:], false)
	if number < 0 || c.booted[name] != nil {
		return nil, fmt.Errorf("computer %s is there already, or %d others are", name, most)
	}
	b := &booted{number: number, dir: filepath.Join(c.dir, name)}
	b.network = network.Machine{Fleet: c.fleet, Node: name, Address: c.fleet.Machine(cluster, number), Services: services}
	for other := range most {
		if other != number {
			b.network.Peers = append(b.network.Peers, network.Peer{Address: c.fleet.Machine(cluster, other), Pods: podsOf(other)})
		}
	}
	c.taken[number], c.booted[name] = true, b
	return b, nil
}

func podsOf(number int) netip.Prefix {
	a := pods.Addr().As4()
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{a[0], a[1], byte(number), 0}), 24)
}

func (c *Computers) start(ctx context.Context, b *booted, computer Computer) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	cgroup := "/" + c.fleet.Namespace(computer.Name)
	if err := machine.RemoveCgroup(ctx, cgroup); err != nil {
		return err
	}
	host, err := local.InspectHost(b.dir, cgroup)
	if err != nil {
		return err
	}
	s := system{
		Spec: machine.Spec{
			Cluster: "computers", Node: computer.Name, Main: &machine.Main{Dir: b.dir, Address: b.network.Address}, Dir: b.dir, Umbel: c.kube, Kube: c.kube,
			Address: b.network.Address, ServiceCIDR: services, PodCIDR: pods, NodePods: podsOf(b.number), Host: host,
		},
		Kubeadm: c.kubeadm, ProviderID: computer.ProviderID, UserData: computer.UserData, Images: c.images,
	}
	if err := s.prepare(); err != nil {
		return err
	}
	for _, registry := range c.Registries {
		if err := local.Trust(b.dir, registry); err != nil {
			return err
		}
	}
	if err := b.network.Connect(); err != nil {
		return err
	}
	return network.Within(b.network.Path(), func() error {
		gateway := &netlink.Route{Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Gw: c.fleet.Hub().AsSlice()}
		if err := netlink.RouteAdd(gateway); err != nil {
			return fmt.Errorf("adding a route to everywhere: %w", err) // which kubeadm looks for the address at; it leads nowhere
		}
		return b.launch()
	})
}

// launch starts the computer's first process, on a thread that is in its network namespace.
func (b *booted) launch() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	output, err := os.OpenFile(filepath.Join(b.dir, "console.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()
	lives, life, err := os.Pipe()
	if err != nil {
		return err
	}
	defer lives.Close()
	b.command = exec.Command(program)
	b.command.Dir = "/"
	b.command.Env = []string{asComputer + "=" + b.dir, "PATH=" + filepath.Join(b.dir, "bin") + ":" + searchPath, "HOME=/root", "LANG=C.UTF-8"}
	b.command.Stdout, b.command.Stderr = output, output
	b.command.ExtraFiles = []*os.File{lives} // its file descriptor 3, at whose end the computer ends, however the test does
	b.command.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if err := b.command.Start(); err != nil {
		b.command = nil
		return errors.Join(err, life.Close())
	}
	b.life = life
	return nil
}

// End ends a computer as a power cut does, and removes all of it. It is idempotent.
func (c *Computers) End(ctx context.Context, name string) error {
	c.mu.Lock()
	b := c.booted[name]
	c.mu.Unlock()
	if b == nil {
		return nil
	}
	if b.command != nil {
		_ = b.life.Close()
		_ = b.command.Process.Kill() // it may have ended
		_ = b.command.Wait()
		b.command = nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := errors.Join(machine.RemoveCgroup(ctx, "/"+c.fleet.Namespace(name)), b.network.Disconnect(), os.RemoveAll(b.dir)); err != nil {
		return fmt.Errorf("ending computer %s: %w", name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.booted, name)
	c.taken[b.number] = false
	return nil
}

// Cut ends a computer as a power cut does, and leaves it as it is then.
func (c *Computers) Cut(name string) error {
	c.mu.Lock()
	b := c.booted[name]
	c.mu.Unlock()
	if b == nil || b.command == nil {
		return fmt.Errorf("computer %s does not run", name)
	}
	return b.command.Process.Signal(unix.SIGKILL)
}

// tell writes down what the computers said last.
func (c *Computers) tell(t testing.TB) {
	for _, name := range c.Booted() {
		for _, file := range []string{"console.log", "logs/cloud-init.log", "logs/kubelet.log"} {
			said, err := os.ReadFile(filepath.Join(c.dir, name, file))
			if err != nil {
				t.Logf("of computer %s: %v", name, err)
				continue
			}
			lines := strings.Split(strings.TrimSpace(string(said)), "\n")
			t.Logf("the end of %s of computer %s:\n%s", file, name, strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	}
}
