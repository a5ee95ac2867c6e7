package local

import (
	"fmt"
	"net/netip"
	"path/filepath"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/local/balancer"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
	"umbel.dev/umbel/internal/lifecycle/local/network"
)

// Ranges are the addresses of a cluster's pods and Services. A prefix that is not given is chosen.
type Ranges struct {
	Pods     netip.Prefix `json:"pods,omitzero"`
	Services netip.Prefix `json:"services,omitzero"`
	// Balancer is for Services of type LoadBalancer: a part of the bridge's network, or for 0.0.0.0 any of that size. Where it is not
	// given there is none.
	Balancer netip.Prefix `json:"balancer,omitzero"`
}

// podBits is the size of every cluster's range of pods: a /24 for each machine follows from the machine's number.
const podBits = 16

// leastServices is the smallest range of Services: its tenth address is the cluster's DNS.
const leastServices = 24

// Validate says what is wrong with ranges.
func (r Ranges) Validate() error {
	for what, prefix := range map[string]netip.Prefix{"pods": r.Pods, "services": r.Services} {
		if prefix.IsValid() && (!prefix.Addr().Is4() || prefix != prefix.Masked()) {
			return fmt.Errorf("the range of %s %s is no IPv4 network: write its first address, such as 10.64.0.0/16", what, prefix)
		}
	}
	if r.Pods.IsValid() && r.Pods.Bits() != podBits {
		return fmt.Errorf("the range of pods %s is to be a /%d: each machine has a part of it", r.Pods, podBits)
	}
	if r.Services.IsValid() && r.Services.Bits() > leastServices {
		return fmt.Errorf("the range of services %s is too small: a /%d at least", r.Services, leastServices)
	}
	if r.Balancer.IsValid() {
		return balancer.Validate(r.Balancer)
	}
	return nil
}

// fixed says whether all are given, so that none follows from the cluster's index.
func (r Ranges) fixed() bool {
	return r.Pods.IsValid() && r.Services.IsValid() && !(r.Balancer.IsValid() && r.Balancer.Addr().IsUnspecified())
}

// machinesNetwork is what the bridge of all machines is called.
const machinesNetwork = "the network of this computer's machines"

// OverlapError says that two ranges of addresses have addresses in common.
type OverlapError struct {
	Range, Other netip.Prefix
	// Of says whose Other is.
	Of string
}

func (e *OverlapError) Error() string {
	return fmt.Sprintf("the range %s overlaps %s, which is %s: take another", e.Range, e.Other, e.Of)
}

// named is a range and what it is.
type named struct {
	prefix   netip.Prefix
	of       string
	services bool
}

func (r record) ranges() []named {
	return []named{{r.pods(), fmt.Sprintf("the pods of cluster %q", r.Name), false}, {r.services(), fmt.Sprintf("the services of cluster %q", r.Name), true}}
}

// Taken are the ranges that clusters of `umbel local` have on this computer, and its network of machines: those that no Cluster of Cluster API has.
func (l *Local) Taken() ([]infra.TakenRange, error) {
	records, err := l.records()
	if err != nil {
		return nil, err
	}
	return takenBy(records), nil
}

func takenBy(records []record) []infra.TakenRange {
	var all []infra.TakenRange
	var fleet *network.Fleet
	for _, r := range records {
		if r.Fleet != nil {
			fleet = r.Fleet
		}
		if r.hosted() {
			continue
		}
		for _, own := range r.ranges() {
			all = append(all, infra.TakenRange{Range: own.prefix.String(), Of: own.of + " of `umbel local`", Services: own.services})
		}
	}
	if fleet != nil {
		all = append(all, infra.TakenRange{Range: fleet.Prefix().String(), Of: machinesNetwork})
	}
	return all
}

// overlap says which range of the cluster is somebody else's on this computer.
func (r record) overlap(records []record) error {
	var taken []named
	for _, other := range records {
		if other.Name != r.Name {
			taken = append(taken, other.ranges()...)
		}
	}
	if r.Fleet != nil {
		taken = append(taken, named{r.Fleet.Prefix(), machinesNetwork, false})
	}
	for _, own := range r.ranges() {
		for _, other := range taken {
			if r.Copied && own.services && other.services {
				continue
			}
			if own.prefix.Overlaps(other.prefix) {
				return &OverlapError{Range: own.prefix, Other: other.prefix, Of: other.of}
			}
		}
		taken = append(taken, own)
	}
	return r.overlapBalancer(records)
}

// overlapBalancer says of which other cluster the addresses of the cluster's Services of type LoadBalancer are.
func (r record) overlapBalancer(records []record) error {
	own := r.balancer()
	if !own.IsValid() {
		return nil
	}
	for _, other := range records {
		if taken := other.balancer(); other.Name != r.Name && taken.IsValid() && taken.Overlaps(own) {
			return &OverlapError{Range: own, Other: taken, Of: fmt.Sprintf("the load balancer's of cluster %q", other.Name)}
		}
	}
	return balancer.Place(own, r.Fleet.Prefix())
}

// member is a node of a hosted cluster: a machine with a number, from which its addresses follow, and a name that it was given.
type member struct {
	Number int    `json:"number"`
	Node   string `json:"node"`
}

// hosted says whether the control plane has a machine of its own.
func (r record) hosted() bool { return r.Owner != "" }

// member returns where a node of a hosted cluster is.
func (r record) member(dir string, m member) place {
	return place{cluster: r, number: m.Number, name: m.Node, dir: filepath.Join(dir, machine.MachinesDir, m.Node)}
}

// find returns the member of that name.
func (r record) find(node string) (member, bool) {
	for _, m := range r.Members {
		if m.Node == node {
			return m, true
		}
	}
	return member{}, false
}

// admit gives a node the lowest number that no other has.
func (r record) admit(node string) (member, error) {
	taken := map[int]bool{}
	for _, m := range r.Members {
		taken[m.Number] = true
	}
	for number := 1; number < MaxNodes; number++ {
		if !taken[number] {
			return member{Number: number, Node: node}, nil
		}
	}
	return member{}, fmt.Errorf("cluster %q has %d machines, as many as there can be", r.Name, MaxNodes-1)
}
