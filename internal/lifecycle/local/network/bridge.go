package network

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
)

// Claim returns the fleet of the data folder home, with its bridge up. It makes the bridge where there is none. wanted
// is the fleet that home had before, and has for good: if that bridge is somebody else's now, Claim returns an error.
// A nil wanted takes the first that is free. Idempotent; the caller prevents two concurrent calls for one folder.
func Claim(home string, wanted *Fleet) (Fleet, error) {
	order := candidates(home)
	if wanted != nil {
		order = []Fleet{*wanted}
	}
	if wanted == nil {
		fleet, found, err := Find(home)
		if err != nil {
			return 0, err
		}
		if found {
			order = []Fleet{fleet}
		}
	}
	for _, fleet := range order {
		mine, err := fleet.claim(home)
		if err != nil {
			return 0, fmt.Errorf("making bridge %s: %w", fleet.Bridge(), err)
		}
		if mine {
			return fleet, nil
		}
	}
	if wanted != nil {
		return 0, fmt.Errorf("bridge %s, whose addresses the clusters of %s have, belongs to another fleet: see `ip link show %s`, and delete that fleet's clusters",
			wanted.Bridge(), home, wanted.Bridge())
	}
	return 0, fmt.Errorf("all %d bridges umbel0..umbel%d are in use: delete the clusters of another data folder", fleets, fleets-1)
}

// Find returns the fleet whose bridge belongs to home.
func Find(home string) (fleet Fleet, found bool, err error) {
	links, err := allLinks()
	if err != nil {
		return 0, false, fmt.Errorf("listing network links: %w", err)
	}
	for _, link := range links {
		attrs := link.Attrs()
		if !bytes.Equal(attrs.HardwareAddr, ownerAddress(home)) {
			continue
		}
		if _, err := fmt.Sscanf(attrs.Name, "umbel%d", &fleet); err == nil {
			return fleet, true, nil
		}
	}
	return 0, false, nil
}

// allLinks lists the links of the host. Where one comes or goes meanwhile the kernel says that the list may not be right, and is asked again.
func allLinks() (links []netlink.Link, err error) {
	for range 100 {
		if links, err = netlink.LinkList(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return links, err
}

// claim makes the bridge, or finds that it is there, and says whether it is home's.
func (f Fleet) claim(home string) (mine bool, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = f.Bridge(), ownerAddress(home)
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, os.ErrExist) {
		return false, err
	}
	link, err := netlink.LinkByName(f.Bridge())
	if err != nil {
		return false, err
	}
	if !bytes.Equal(link.Attrs().HardwareAddr, ownerAddress(home)) {
		return false, nil
	}
	if err := netlink.LinkSetAlias(link, label(home)); err != nil {
		return false, err
	}
	if err := netlink.AddrReplace(link, address(f.Hub(), f.Prefix().Bits())); err != nil {
		return false, err
	}
	return true, netlink.LinkSetUp(link)
}

// Release removes the bridge of home, if it has one. Links that are on it lose it.
func Release(home string) error {
	fleet, found, err := Find(home)
	if err != nil || !found {
		return err
	}
	return remove(fleet.Bridge())
}

// remove deletes a link of the host; it is no error if there is none.
func remove(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking up link %s: %w", name, err)
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("deleting link %s: %w", name, err)
	}
	return nil
}

func address(ip netip.Addr, bits int) *netlink.Addr {
	return &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(ip, bits))}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
