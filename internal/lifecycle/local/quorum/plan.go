package quorum

import (
	"fmt"
	"slices"
	"strings"
)

// Place is where a member is, or may be.
type Place struct {
	Number int
	// Peer and Client are the URLs of its etcd.
	Peer, Client string
	// Name is by what etcd knows a member there.
	Name string
	// Wanted says that a member is to be there.
	Wanted bool
	// Data says that its etcd has something on its disk, and Runs that its processes are supervised.
	Data, Runs bool
	// Stuck says that its etcd ends whenever it is started: it cannot open what it has.
	Stuck bool
}

// Member is one of those that etcd lists.
type Member struct {
	ID      uint64
	Peers   []string
	Name    string
	Learner bool
}

// Seen is what there is.
type Seen struct {
	Places []Place
	// Begun says that the control plane has served before.
	Begun bool
	// Answers says that a majority of etcd's members does, and Members who they are.
	Answers bool
	Members []Member
}

// kind is what a step does.
type kind string

const (
	begin   kind = "begin"   // start the first member, with nothing
	raise   kind = "raise"   // start a member with its data
	admit   kind = "admit"   // put a new member on the list, as a learner, and start it
	promote kind = "promote" // give a learner its vote
	move    kind = "move"    // write another URL into the list
	expel   kind = "expel"   // take a member off the list
	forget  kind = "forget"  // end a member, and remove its data
	end     kind = "end"     // end a member, and remove its place
)

// step is one thing to do. The zero step is none.
type step struct {
	kind  kind
	place Place
	id    uint64
}

// next returns the first thing to do.
func next(s Seen) (step, error) {
	for _, p := range s.Places {
		if p.Data && !p.Runs {
			return step{kind: raise, place: p}, nil
		}
	}
	if !s.Begun && !s.Answers {
		return step{kind: begin, place: s.Places[0]}, nil
	}
	if !s.Answers {
		return step{}, silent(s)
	}
	if first := s.Members[0]; len(s.Members) == 1 && s.of(first) < 0 {
		return step{kind: move, place: s.Places[0], id: first.ID}, nil
	}
	for _, m := range s.Members {
		if s.of(m) < 0 {
			return step{kind: expel, id: m.ID}, nil
		}
	}
	for _, p := range s.Places {
		if st := s.mend(p); p.Wanted && st.kind != "" {
			return st, nil
		}
	}
	for _, p := range slices.Backward(s.Places) {
		m, listed := s.member(p)
		switch {
		case p.Wanted:
		case listed:
			return step{kind: expel, place: p, id: m.ID}, nil
		case p.Data || p.Runs:
			return step{kind: end, place: p}, nil
		}
	}
	return step{}, nil
}

// mend returns what the member of a place needs that is to have one.
func (s Seen) mend(p Place) step {
	m, listed := s.member(p)
	switch {
	case listed && (!p.Data || p.Stuck): // what it cannot open is lost to it
		return step{kind: expel, place: p, id: m.ID}
	case listed && m.Learner:
		return step{kind: promote, place: p, id: m.ID}
	case !listed && p.Data:
		return step{kind: forget, place: p}
	case !listed:
		return step{kind: admit, place: p}
	}
	return step{}
}

// silent says why etcd does not answer, and what there is to do.
func silent(s Seen) error {
	with, stuck := 0, []string{}
	for _, p := range s.Places {
		if p.Data {
			with++
		}
		if p.Data && p.Stuck {
			stuck = append(stuck, p.Name)
		}
	}
	if with == 0 {
		return ErrNoData
	}
	if len(stuck) > 0 {
		return fmt.Errorf("no majority of its members answers, and the etcd of %s ends whenever it is started (logs/etcd.log in its folder says why): restore the cluster from a backup, or delete it", strings.Join(stuck, ", "))
	}
	return fmt.Errorf("no majority of its members answers; %d have their data, and run", with)
}

// ErrNoData says that nothing is left of what a control plane held.
var ErrNoData = fmt.Errorf("no member of the control plane has its data any more: restore it from a backup, or delete the cluster")

// of returns the index of the place of a member, -1 for one that has none.
func (s Seen) of(m Member) int {
	return slices.IndexFunc(s.Places, func(p Place) bool { return slices.Contains(m.Peers, p.Peer) })
}

// member returns the member of a place.
func (s Seen) member(p Place) (Member, bool) {
	i := slices.IndexFunc(s.Members, func(m Member) bool { return slices.Contains(m.Peers, p.Peer) })
	if i < 0 {
		return Member{}, false
	}
	return s.Members[i], true
}

// joining returns what a new member is told of all members.
func joining(s Seen, p Place) []string {
	all := []string{p.Name + "=" + p.Peer}
	for _, m := range s.Members {
		if i := s.of(m); i >= 0 && s.Places[i].Number != p.Number {
			all = append(all, s.Places[i].Name+"="+s.Places[i].Peer)
		}
	}
	slices.Sort(all)
	return all
}
