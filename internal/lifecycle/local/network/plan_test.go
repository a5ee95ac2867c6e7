package network

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestAddressesOfFleetsAndMachinesAreDisjoint(t *testing.T) {
	seen := map[netip.Addr]string{}
	for fleet := range Fleet(fleets) {
		addresses := map[string]netip.Addr{"hub": fleet.Hub()}
		for _, cluster := range []int{1, 2, 60} {
			for machine := range 3 {
				addresses[strings.Repeat("c", cluster)+strings.Repeat("m", machine)] = fleet.Machine(cluster, machine)
			}
		}
		for what, address := range addresses {
			if other, taken := seen[address]; taken {
				t.Errorf("%s has %s and %s", address, other, what)
			}
			if !fleet.Prefix().Contains(address) {
				t.Errorf("%s of %s is not in %s", what, fleet.Bridge(), fleet.Prefix())
			}
			seen[address] = what
		}
	}
}

func TestLinkNames(t *testing.T) {
	for _, c := range []struct {
		reason string
		fleet  Fleet
		node   string
		want   string
	}{
		{"short names are readable", 0, "prod-eu-0", "u0-prod-eu-0"},
		{"as long as Linux allows", 49, "eleven-ch-0", "u49-eleven-ch-0"},
		{"longer ones are cut, and told apart", 49, "eleven-char-0", "u49-eleven-a010"},
	} {
		got := c.fleet.Link(c.node)
		if len(got) > 15 || got != c.want {
			t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
		}
	}
	if one, two := Fleet(7).Link("production-0"), Fleet(7).Link("production-1"); one == two {
		t.Errorf("two nodes have the link %s", one)
	}
}

func TestCandidatesAreAllFleetsFromAPlaceOfOnesOwn(t *testing.T) {
	one, again, two := candidates("/one"), candidates("/one"), candidates("/two")
	if !slices.Equal(one, again) {
		t.Error("the order changes for one folder")
	}
	if one[0] == two[0] {
		t.Errorf("/one and /two both begin at %d", one[0])
	}
	slices.Sort(one)
	for i, fleet := range one {
		if int(fleet) != i {
			t.Fatalf("got %v, want every fleet once", one)
		}
	}
}

func TestOwnerAddressIsUnicastAndLocal(t *testing.T) {
	address := ownerAddress("/root/.umbel")
	if len(address) != 6 || address[0]&1 != 0 || address[0]&2 == 0 {
		t.Errorf("got %s, want a unicast address that is locally administered", address)
	}
	if other := ownerAddress("/tmp/other"); slices.Equal(address, other) {
		t.Errorf("two folders have %s", other)
	}
}

// TestAnnouncement is the frame of RFC 5227, byte by byte.
func TestAnnouncement(t *testing.T) {
	got := announcement(net.HardwareAddr{2, 'u', 10, 200, 1, 42}, netip.MustParseAddr("10.200.1.10"))
	want := []byte{
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 'u', 10, 200, 1, 42, 8, 6, // to all, ARP
		0, 1, 8, 0, 6, 4, 0, 1, // Ethernet, IPv4, a request
		2, 'u', 10, 200, 1, 42, 10, 200, 1, 10, // who has it
		0, 0, 0, 0, 0, 0, 10, 200, 1, 10, // whom it asks for
	}
	if !bytes.Equal(want, got) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
