package main

import (
	"fmt"
	"maps"
	"slices"
)

// Question is what is asked, about one cluster.
type Question struct {
	// Server is HOST or HOST:PORT of the vCenter, Thumbprint that of its certificate; without one any is taken, as Cluster API's provider does.
	Server     string `json:"server"`
	Thumbprint string `json:"thumbprint,omitempty"`
	// Username and Password are of whoever may make machines there; From says where they are kept, for people.
	Username string `json:"username"`
	Password string `json:"password"`
	From     string `json:"from,omitempty"`
	// Machines are those that are to come.
	Machines []Machines `json:"machines,omitempty"`
}

// Machines are some that are alike, in the words of a VSphereMachineTemplate. An empty name is the only thing of its kind; without a datastore they
// are where the vCenter has room.
type Machines struct {
	Number       int64    `json:"number"`
	Template     string   `json:"template"`
	Datacenter   string   `json:"datacenter,omitempty"`
	Datastore    string   `json:"datastore,omitempty"`
	Folder       string   `json:"folder,omitempty"`
	ResourcePool string   `json:"resourcePool,omitempty"`
	Networks     []string `json:"networks,omitempty"`
	CloneMode    string   `json:"cloneMode,omitempty"`
	DiskGiB      int64    `json:"diskGiB,omitempty"`
	NumCPUs      int64    `json:"numCPUs,omitempty"`
	MemoryMiB    int64    `json:"memoryMiB,omitempty"`
}

// Answer is what was found out.
type Answer struct {
	// Problems are what the vCenter would refuse, in sentences.
	Problems []string `json:"problems,omitempty"`
	// Sizes are what one of each of the machines has, in the order of the question.
	Sizes []Size `json:"sizes,omitempty"`
}

// Size is what a machine has.
type Size struct {
	Cores     int64 `json:"cores"`
	MemoryMiB int64 `json:"memoryMiB"`
}

// What Cluster API's provider gives a machine at least, and without being told.
const (
	leastCPUs   = 2
	usualMemory = 2048
	fullClone   = "fullClone"
)

// size is what one of these machines has.
func (m Machines) size() Size {
	s := Size{Cores: max(m.NumCPUs, leastCPUs), MemoryMiB: m.MemoryMiB}
	if s.MemoryMiB == 0 {
		s.MemoryMiB = usualMemory
	}
	return s
}

// template is what machines are cloned from.
type template struct {
	// disks are the sizes of its disks in bytes; thin says that the first grows with what is written.
	disks []int64
	thin  bool
	// written is what all of it takes in its datastore.
	written int64
	// linkable says that it has a snapshot.
	linkable bool
}

// needs is how much a datastore is to have for one of these machines, to begin with.
func (m Machines) needs(of template) int64 {
	if of.linkable && m.CloneMode != fullClone {
		return 0
	}
	if of.thin {
		return of.written
	}
	var sum int64
	for i, size := range of.disks {
		if i == 0 {
			size = max(size, m.DiskGiB<<30)
		}
		sum += size
	}
	return sum
}

// room is what a datastore is to take.
type room struct{ free, needed, machines int64 }

// full says which datastores have not enough, by their names.
func full(server string, stores map[string]*room) []string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(stores)) {
		if r := stores[name]; r.needed > r.free {
			found = append(found, fmt.Sprintf("datastore %s of vCenter %s has %s free, and the disks of %d machines need %s: free some, or take fewer machines, smaller disks (diskGiB) or another datastore",
				name, server, gibibytes(r.free), r.machines, gibibytes(r.needed)))
		}
	}
	return found
}

func gibibytes(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }
