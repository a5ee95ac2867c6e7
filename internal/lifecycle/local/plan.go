package local

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"

	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/lifecycle/local/balancer"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
	"umbel.dev/umbel/internal/lifecycle/local/network"
)

// Spec is what a user wants of a local cluster.
type Spec struct {
	Name string
	// Nodes is how many, at most MaxNodes; 0 for a control plane alone, which needs no root.
	Nodes int
}

// MaxNodes is how many nodes a local cluster can have: each knows the ways to all others from the start.
const MaxNodes = 32

// record is what is kept of a cluster in cluster.json: what cannot be derived and must not change, but for the number of nodes.
type record struct {
	Name  string `json:"name"`
	Nodes int    `json:"nodes"`
	// Index is the cluster's number in its fleet, from 1. Its address ranges follow from it.
	Index int `json:"index"`
	// Fleet is the number of the bridge; nil where there are no nodes.
	Fleet *network.Fleet `json:"fleet,omitempty"`
	// Ports are those on the loopback of a cluster without nodes; a machine has the standard ones.
	Ports *controlplane.Ports `json:"ports,omitempty"`

	// Owner says whose hosted cluster it is; empty for any other. Its main machine has the control plane and is no node, and its
	// nodes are the Members.
	Owner   string   `json:"owner,omitempty"`
	Members []member `json:"members,omitempty"`
	// Enrolment is how its machines come to be nodes.
	Enrolment controlplane.Enrolment `json:"enrolment,omitempty"`
	// Planes is how many members the control plane of a hosted cluster is to have (0: one). Begun says that it has served, and so
	// that it holds something.
	Planes int  `json:"planes,omitempty"`
	Begun  bool `json:"begun,omitempty"`
	// Restoring is the request for what a snapshot holds that is under way, from when its members have to end; Restored the last one
	// that was answered.
	Restoring string `json:"restoring,omitempty"`
	Restored  string `json:"restored,omitempty"`
	// Copied says that what it holds came from another cluster's snapshot, so that its Services may have the addresses of that one's.
	Copied bool `json:"copied,omitempty"`
	// Ranges are what it has instead of those that follow from Index; zero prefixes where it has not.
	Ranges Ranges `json:"ranges,omitzero"`
}

const (
	maxClusters = 60 // of a fleet, as many as the address plan has ranges for
	maxName     = 40 // node names and network namespaces are made of it
)

var (
	standardPorts = controlplane.Ports{API: 6443, Etcd: 2379, EtcdPeer: 2380}
	loopback      = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	hostless      = machine.Host{}
	clusterName   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
)

// Validate reports what is wrong with a spec, naming the field.
func (s Spec) Validate() error {
	if !clusterName.MatchString(s.Name) || len(s.Name) > maxName {
		return fmt.Errorf("cluster name %q: must be at most %d lower case letters, digits and hyphens, with a letter or digit at both ends", s.Name, maxName)
	}
	if s.Nodes < 0 || s.Nodes > MaxNodes {
		return fmt.Errorf("cluster %q: nodes is %d, must be within 0..%d", s.Name, s.Nodes, MaxNodes)
	}
	return nil
}

// freeIndex returns the lowest index that none of the records has, and with which r's ranges overlap nobody's.
func freeIndex(r record, records []record) (int, error) {
	var overlap error
	for r.Index = 1; r.Index <= maxClusters; r.Index++ {
		if slices.ContainsFunc(records, func(other record) bool { return other.Index == r.Index }) {
			continue
		}
		if overlap = r.overlap(records); overlap == nil {
			return r.Index, nil
		}
		if r.Ranges.fixed() {
			break // they do not depend on the index
		}
	}
	if overlap != nil {
		return 0, overlap
	}
	return 0, fmt.Errorf("all %d address ranges of this fleet are in use: delete a cluster first", maxClusters)
}

func (r record) services() netip.Prefix {
	if r.Ranges.Services.IsValid() {
		return r.Ranges.Services
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(128 + r.Index), 0, 0}), 16)
}

func (r record) pods() netip.Prefix {
	if r.Ranges.Pods.IsValid() {
		return r.Ranges.Pods
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(64 + r.Index), 0, 0}), 16)
}

// balancer returns the addresses of Services of type LoadBalancer, the zero prefix for none.
func (r record) balancer() netip.Prefix {
	if !r.Ranges.Balancer.IsValid() || r.Fleet == nil {
		return netip.Prefix{}
	}
	return balancer.Choose(r.Ranges.Balancer, r.Fleet.Prefix(), r.Index)
}

// places returns where the machines of a cluster in dir are: the main one, and one for each further node.
func (r record) places(dir string) []place {
	all := []place{r.place(dir, 0)}
	for number := 1; number < r.Nodes; number++ {
		all = append(all, r.place(dir, number))
	}
	for _, m := range r.Members {
		all = append(all, r.member(dir, m))
	}
	return all
}

// place returns where one machine of a cluster in dir is, or would be.
func (r record) place(dir string, number int) place {
	p := place{cluster: r, number: number, dir: dir}
	if number > 0 {
		p.dir = filepath.Join(dir, machine.MachinesDir, p.node())
	}
	return p
}

// auditDir is in the folder of a cluster: the audit logs of its API servers, a folder each.
const auditDir = "audit"

// auditLog is the pattern of those of a cluster in dir.
func (record) auditLog(dir string) string {
	return filepath.Join(dir, auditDir, "*", machine.AuditFile)
}

// place is where one machine of a cluster is: its folder and its addresses. Number 0 is the main one, with the control plane.
type place struct {
	cluster record
	number  int
	name    string // of the node, where that does not follow from the number
	dir     string
	join    []string // what a new member of the control plane is told of the others
}

// host is by what this computer knows the machine: its links, namespaces and cgroups are called so.
func (p place) host() string { return fmt.Sprintf("%s-%d", p.cluster.Name, p.number) }

// node is the name of the machine's node.
func (p place) node() string { return cmp.Or(p.name, p.host()) }

func (p place) address() netip.Addr {
	if p.cluster.Fleet == nil {
		return loopback
	}
	if p.plane() && p.number == 0 {
		return p.cluster.Fleet.Machine(p.cluster.Index, MaxNodes)
	}
	return p.cluster.Fleet.Machine(p.cluster.Index, p.number)
}

// endpoint is where the API of the cluster is. In a hosted one that is no member's own address: one of them has it beside its own.
func (r record) endpoint() netip.Addr {
	if r.Fleet == nil {
		return loopback
	}
	return r.Fleet.Machine(r.Index, 0)
}

// maxPlanes is how many members a control plane can have. The numbers of those beside the first follow those of the nodes.
const maxPlanes = 3

// member of the control plane.
func (r record) planePlace(dir string, member int) place {
	if member == 0 {
		return r.place(dir, 0)
	}
	p := place{cluster: r, number: MaxNodes + member}
	p.dir = filepath.Join(dir, planesDir, p.host())
	return p
}

// planesDir is in the folder of a cluster: the members of its control plane but the first, a folder each.
const planesDir = "planes"

// plane says whether the machine is a member of a hosted control plane.
func (p place) plane() bool { return p.cluster.hosted() && (p.number == 0 || p.number >= MaxNodes) }

// pods is the part of the cluster's range that the pods of this machine have.
func (p place) pods() netip.Prefix {
	first := p.cluster.pods().Addr().As4()
	first[2] = byte(p.number)
	return netip.PrefixFrom(netip.AddrFrom4(first), 24)
}

// network returns the network of the machine. The cluster must have a fleet.
func (p place) network() network.Machine {
	m := network.Machine{Fleet: *p.cluster.Fleet, Node: p.host(), Address: p.address(), Services: p.cluster.services()}
	for number := range MaxNodes {
		if peer := p.cluster.place("", number); number != p.number {
			m.Peers = append(m.Peers, network.Peer{Address: peer.address(), Pods: peer.pods()})
		}
	}
	return m
}

// cgroup is the path of the machine's cgroup in each hierarchy. It has no parent that it shares with other machines:
// nobody could tell when to remove that.
func (p place) cgroup() string { return "/" + p.cluster.Fleet.Namespace(p.host()) }

// spec returns the machine. The paths of the binaries are absolute, and main is the place with the control plane.
func (p place) spec(main place, binaries Binaries, host machine.Host) machine.Spec {
	spec := machine.Spec{
		Cluster:     p.cluster.Name,
		Dir:         p.dir,
		Umbel:       binaries.Umbel,
		Kube:        binaries.Kube,
		Address:     p.address(),
		Ports:       standardPorts,
		PodCIDR:     p.cluster.pods(),
		ServiceCIDR: p.cluster.services(),
		Host:        host,
		Enrolment:   p.cluster.Enrolment,
	}
	if p.plane() {
		spec.Address = p.cluster.endpoint()
		spec.Member = &controlplane.Member{Name: p.host(), Address: p.address(), Join: p.join}
	}
	if p.number > 0 && !p.plane() {
		spec.Main = &machine.Main{Dir: main.dir, Address: p.cluster.endpoint()}
	}
	if p.cluster.Fleet != nil {
		spec.Node = p.node()
	}
	if !p.plane() {
		spec.NodePods = p.pods()
	}
	if p.cluster.Ports != nil {
		spec.Ports = *p.cluster.Ports
	}
	return spec
}
