package local

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
	"umbel.dev/umbel/internal/lifecycle/local/network"
)

// Spec is what a user wants of a local cluster.
type Spec struct {
	Name string
	// Nodes is 1, or 0 for a control plane alone, which needs no root.
	Nodes int
}

// record is what is kept of a cluster in cluster.json: what cannot be derived and must not change.
type record struct {
	Name  string `json:"name"`
	Nodes int    `json:"nodes"`
	// Index is the cluster's number in its fleet, from 1. Its address ranges follow from it.
	Index int `json:"index"`
	// Fleet is the number of the bridge; nil where there are no nodes.
	Fleet *network.Fleet `json:"fleet,omitempty"`
	// Ports are those on the loopback of a cluster without nodes; a machine has the standard ones.
	Ports *controlplane.Ports `json:"ports,omitempty"`
}

const (
	maxClusters = 60 // of a fleet, as many as the address plan has ranges for
	maxName     = 40 // node names and network namespaces are made of it
)

var (
	standardPorts = controlplane.Ports{API: 6443, Etcd: 2379, EtcdPeer: 2380}
	loopback      = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	clusterName   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
)

// Validate reports what is wrong with a spec, naming the field.
func (s Spec) Validate() error {
	if !clusterName.MatchString(s.Name) || len(s.Name) > maxName {
		return fmt.Errorf("cluster name %q: must be at most %d lower case letters, digits and hyphens, with a letter or digit at both ends", s.Name, maxName)
	}
	if s.Nodes != 0 && s.Nodes != 1 {
		return fmt.Errorf("cluster %q: nodes is %d, must be 0 or 1", s.Name, s.Nodes)
	}
	return nil
}

// freeIndex returns the lowest index that none of the records has.
func freeIndex(records []record) (int, error) {
	for index := 1; index <= maxClusters; index++ {
		if !slices.ContainsFunc(records, func(r record) bool { return r.Index == index }) {
			return index, nil
		}
	}
	return 0, fmt.Errorf("all %d address ranges of this fleet are in use: delete a cluster first", maxClusters)
}

// machineSpec returns the machine of a cluster in dir. The paths of the binaries are absolute.
func (r record) machineSpec(dir string, binaries Binaries, host machine.Host) machine.Spec {
	spec := machine.Spec{
		Cluster:     r.Name,
		Dir:         dir,
		Umbel:       binaries.Umbel,
		Kube:        binaries.Kube,
		Address:     r.address(),
		Ports:       standardPorts,
		PodCIDR:     netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(64 + r.Index), 0, 0}), 16),
		ServiceCIDR: r.services(),
		Host:        host,
	}
	if r.Nodes > 0 {
		spec.Node = r.node()
	}
	if r.Ports != nil {
		spec.Ports = *r.Ports
	}
	return spec
}

func (r record) services() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(128 + r.Index), 0, 0}), 16)
}

func (r record) address() netip.Addr {
	if r.Fleet == nil {
		return loopback
	}
	return r.Fleet.Machine(r.Index, 0)
}

// node is the name of the first, and only, node.
func (r record) node() string { return r.Name + "-0" }

// network returns the network of the machine. The record must have a fleet.
func (r record) network() network.Machine {
	return network.Machine{Fleet: *r.Fleet, Node: r.node(), Address: r.address(), Services: r.services()}
}

// cgroup is the path of the machine's cgroup in each hierarchy. It has no parent that it shares with other machines:
// nobody could tell when to remove that.
func (r record) cgroup() string { return "/" + r.Fleet.Namespace(r.node()) }
