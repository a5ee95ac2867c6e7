package balancer

import (
	"fmt"
	"net/netip"
)

const (
	// most and least are the sizes that a pool may have: a /24, since each cluster of a bridge has one to itself, and one address.
	most, least = 24, 32
	// half is where the pools begin, in the third byte of an address of the bridge: below it are machines, by cluster.
	half = 128
)

// Validate says what is wrong with a pool that somebody asks for. One of 0.0.0.0 stands for any of that size.
func Validate(asked netip.Prefix) error {
	switch {
	case !asked.Addr().Is4() || asked != asked.Masked():
		return fmt.Errorf("the load balancer's addresses %s are no IPv4 network: write its first address, such as 10.200.129.0/28, or 0.0.0.0/28 for any of that size", asked)
	case asked.Bits() < most:
		return fmt.Errorf("the load balancer's addresses %s are too many: a /%d at most", asked, most)
	}
	return nil
}

// Choose returns the pool of the cluster with that index, on a bridge with that network: what is asked for, or for one of 0.0.0.0 the
// first addresses of the /24 that is the cluster's own.
func Choose(asked, network netip.Prefix, index int) netip.Prefix {
	if !asked.IsValid() || !asked.Addr().IsUnspecified() {
		return asked
	}
	first := network.Addr().As4()
	first[2] = byte(half + index)
	return netip.PrefixFrom(netip.AddrFrom4(first), asked.Bits())
}

// Within returns the part of a bridge's network in which pools are.
func Within(network netip.Prefix) netip.Prefix {
	first := network.Addr().As4()
	first[2] = half
	return netip.PrefixFrom(netip.AddrFrom4(first), network.Bits()+1)
}

// Place says why a pool cannot be there on a bridge with that network.
func Place(pool, network netip.Prefix) error {
	within := Within(network)
	if pool.Bits() >= within.Bits() && within.Contains(pool.Addr()) {
		return nil
	}
	return fmt.Errorf("the load balancer's addresses %s are not in %s, where this computer reaches them and has no machines: take some of these, or 0.0.0.0/%d for any", pool, within, pool.Bits())
}
