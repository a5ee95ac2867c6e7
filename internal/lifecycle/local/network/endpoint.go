package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Take gives the machine that the caller is in an address beside its own, and tells the neighbours. It is idempotent.
func Take(ip netip.Addr) error {
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("looking up eth0: %w", err)
	}
	if err := netlink.AddrReplace(link, address(ip, ip.BitLen())); err != nil {
		return fmt.Errorf("taking the address %s: %w", ip, err)
	}
	return announce(link.Attrs(), ip)
}

// Drop takes such an address away. It is idempotent.
func Drop(ip netip.Addr) error {
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("looking up eth0: %w", err)
	}
	if err := netlink.AddrDel(link, address(ip, ip.BitLen())); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("giving up the address %s: %w", ip, err)
	}
	return nil
}

// announce says to all neighbours whose an address is now (RFC 5227, section 3: an ARP request of it, for itself).
func announce(link *netlink.LinkAttrs, ip netip.Addr) error {
	inNetworkOrder := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ARP))
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(inNetworkOrder))
	if err != nil {
		return fmt.Errorf("announcing %s: %w", ip, err)
	}
	defer unix.Close(socket)
	to := &unix.SockaddrLinklayer{Protocol: inNetworkOrder, Ifindex: link.Index, Halen: 6}
	if err := unix.Sendto(socket, announcement(link.HardwareAddr, ip), 0, to); err != nil {
		return fmt.Errorf("announcing %s: %w", ip, err)
	}
	return nil
}

// announcement is the Ethernet frame of it.
func announcement(from net.HardwareAddr, ip netip.Addr) []byte {
	everybody, own := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, ip.AsSlice()
	frame := append(append([]byte{}, everybody...), from...)
	frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_ARP)
	frame = append(frame, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, their sizes, a request
	frame = append(append(frame, from...), own...)
	return append(append(frame, make([]byte, 6)...), own...)
}
