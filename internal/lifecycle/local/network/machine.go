package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// namespaces is where named network namespaces are mounted, as `ip netns` has it.
const namespaces = "/run/netns"

// Machine is the network of one machine.
type Machine struct {
	Fleet   Fleet
	Node    string
	Address netip.Addr
	// Services is the range of cluster IPs: packets to it must find a route before kube-proxy's rules see them.
	Services netip.Prefix
	// Peers are the machines of the same cluster, those too that may come later.
	Peers []Peer
}

// Peer is another machine of the cluster, and what its pods have for addresses.
type Peer struct {
	Address netip.Addr
	Pods    netip.Prefix
}

// Path returns where the machine's network namespace is mounted.
func (m Machine) Path() string { return filepath.Join(namespaces, m.Fleet.Namespace(m.Node)) }

// Connect makes the machine's network namespace anew and links it to the bridge. The machine must not be running.
func (m Machine) Connect() error {
	if err := m.Disconnect(); err != nil {
		return err
	}
	if err := m.connect(); err != nil {
		return errors.Join(fmt.Errorf("connecting machine %q: %w", m.Node, err), m.Disconnect())
	}
	return nil
}

// Disconnect removes the machine's link and network namespace. It is idempotent.
func (m Machine) Disconnect() error {
	if err := remove(m.Fleet.Link(m.Node)); err != nil {
		return err
	}
	if _, err := os.Stat(m.Path()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := netns.DeleteNamed(filepath.Base(m.Path())); err != nil {
		// A crash, or a reboot, may leave the file without a namespace on it.
		if removeErr := os.Remove(m.Path()); removeErr != nil {
			return fmt.Errorf("deleting network namespace %s: %w", m.Path(), errors.Join(err, removeErr))
		}
	}
	return nil
}

func (m Machine) connect() error {
	namespace, err := newNamespace(filepath.Base(m.Path()))
	if err != nil {
		return fmt.Errorf("making network namespace %s: %w", m.Path(), err)
	}
	defer namespace.Close()
	bridge, err := netlink.LinkByName(m.Fleet.Bridge())
	if err != nil {
		return fmt.Errorf("looking up bridge %s: %w", m.Fleet.Bridge(), err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = m.Fleet.Link(m.Node), bridge.Attrs().Index
	pair := &netlink.Veth{
		LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(namespace), PeerHardwareAddr: hardwareAddress(m.Address),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("making link %s: %w", attrs.Name, err)
	}
	if err := netlink.LinkSetUp(pair); err != nil {
		return fmt.Errorf("setting link %s up: %w", attrs.Name, err)
	}
	return m.configure(namespace)
}

// configure sets up the machine's own end.
func (m Machine) configure(namespace netns.NsHandle) error {
	inside, err := netlink.NewHandleAt(namespace)
	if err != nil {
		return err
	}
	defer inside.Close()
	for _, name := range []string{"lo", "eth0"} {
		link, err := inside.LinkByName(name)
		if err != nil {
			return fmt.Errorf("looking up %s: %w", name, err)
		}
		if err := inside.LinkSetUp(link); err != nil {
			return fmt.Errorf("setting %s up: %w", name, err)
		}
		if name == "lo" {
			continue
		}
		if err := inside.AddrAdd(link, address(m.Address, m.Fleet.Prefix().Bits())); err != nil {
			return fmt.Errorf("giving %s the address %s: %w", name, m.Address, err)
		}
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(m.Services), Scope: netlink.SCOPE_LINK}
		if err := inside.RouteAdd(route); err != nil {
			return fmt.Errorf("adding a route to %s: %w", m.Services, err)
		}
		for _, peer := range m.Peers {
			route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(peer.Pods), Gw: peer.Address.AsSlice()}
			if err := inside.RouteAdd(route); err != nil {
				return fmt.Errorf("adding a route to %s by %s: %w", peer.Pods, peer.Address, err)
			}
		}
	}
	return nil
}
