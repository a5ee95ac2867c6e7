package network

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
)

// Fleet is the number of a bridge, 0 to 49. All addresses of a fleet follow from it.
type Fleet int

// fleets is how many can be on one computer.
const fleets = 50

// Bridge returns the name of the fleet's bridge.
func (f Fleet) Bridge() string { return fmt.Sprintf("umbel%d", f) }

// Prefix returns the network of the fleet's machines.
func (f Fleet) Prefix() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(200 + f), 0, 0}), 16)
}

// Hub returns the address of the bridge, at which the machines reach the hub.
func (f Fleet) Hub() netip.Addr { return netip.AddrFrom4([4]byte{10, byte(200 + f), 0, 1}) }

// Machine returns the address of a machine of the cluster with that index.
func (f Fleet) Machine(cluster, machine int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(200 + f), byte(cluster), byte(10 + machine)})
}

// Namespace returns the name of the network namespace of a machine, which is also the last part of its cgroup's path.
func (f Fleet) Namespace(node string) string { return f.Bridge() + "-" + node }

// Link returns the name of the host's end of a machine's link: uN-NODE, shortened to the 15 bytes that Linux allows.
func (f Fleet) Link(node string) string {
	const most = 15
	name := fmt.Sprintf("u%d-%s", f, node)
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(node))
	return name[:most-5] + "-" + hex.EncodeToString(sum[:2])
}

// ownerAddress is the hardware address of home's bridge: locally administered, and 40 bits of the hash of home. Unlike
// an alias it is there from the moment the bridge is, so that it says for certain whose it is. Without one of its own a
// bridge would take that of a link, and change with the links.
func ownerAddress(home string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(home))
	return append(net.HardwareAddr{0x02}, sum[:5]...)
}

// hardwareAddress is a machine's. It follows from the address, so that neighbours who remember the machine from before
// a restart go on reaching it: looking anew would take them most of a minute.
func hardwareAddress(machine netip.Addr) net.HardwareAddr {
	return append(net.HardwareAddr{0x02, 'u'}, machine.AsSlice()...)
}

// candidates lists the fleets in the order in which a data folder tries them. It begins at a place that follows from
// the folder, so that a fleet most likely gets its addresses again after a reboot.
func candidates(home string) []Fleet {
	hash := fnv.New32a()
	hash.Write([]byte(home))
	first := int(hash.Sum32() % fleets)
	order := make([]Fleet, fleets)
	for i := range order {
		order[i] = Fleet((first + i) % fleets)
	}
	return order
}

// label is what people see on a bridge: the data folder, cut to what an alias holds.
func label(home string) string {
	const most = 255
	return home[:min(len(home), most)]
}
