package quorum

import (
	"errors"
	"strings"
	"testing"
)

// place returns a place as it is when all is well, and changes it.
func place(number int, changes ...func(*Place)) Place {
	p := Place{Number: number, Name: string(rune('a' + number)), Peer: "p" + string(rune('a'+number)), Wanted: true, Data: true, Runs: true}
	for _, change := range changes {
		change(&p)
	}
	return p
}

func noData(p *Place)   { p.Data = false }
func down(p *Place)     { p.Runs = false }
func unwanted(p *Place) { p.Wanted = false }
func stuck(p *Place)    { p.Stuck = true }

func TestNext(t *testing.T) {
	a, b, c := Member{ID: 1, Peers: []string{"pa"}}, Member{ID: 2, Peers: []string{"pb"}}, Member{ID: 3, Peers: []string{"pc"}}
	learner := Member{ID: 3, Peers: []string{"pc"}, Learner: true}
	for _, test := range []struct {
		reason  string
		places  []Place
		members []Member // none: nobody answers
		begun   bool
		kind    kind
		number  int
		id      uint64
		err     bool
	}{
		{"nothing was ever begun", []Place{place(0, noData, down), place(1, noData, down), place(2, noData, down)}, nil, false, begin, 0, 0, false},
		{"begun half", []Place{place(0, down)}, nil, false, raise, 0, 0, false},
		{"all is lost: nothing is begun anew", []Place{place(0, noData)}, nil, true, "", 0, 0, true},
		{"a majority is lost", []Place{place(0), place(1, noData), place(2, noData)}, nil, true, "", 0, 0, true},
		{"a power cut", []Place{place(0, down), place(1, down), place(2, down)}, nil, true, raise, 0, 0, false},
		{"one down", []Place{place(0), place(1, down), place(2)}, []Member{a, b, c}, true, raise, 1, 0, false},
		{"from one to three", []Place{place(0), place(1, noData, down), place(2, noData, down)}, []Member{a}, true, admit, 1, 0, false},
		{"the third is next", []Place{place(0), place(1), place(2, noData, down)}, []Member{a, b}, true, admit, 2, 0, false},
		{"a learner", []Place{place(0), place(1), place(2)}, []Member{a, b, learner}, true, promote, 2, 3, false},
		{"let in, and killed before it wrote anything", []Place{place(0), place(1), place(2, noData)}, []Member{a, b, learner}, true, expel, 2, 3, false},
		{"the first has lost its data", []Place{place(0, noData), place(1), place(2)}, []Member{a, b, c}, true, expel, 0, 1, false},
		{"and is off the list", []Place{place(0, noData), place(1), place(2)}, []Member{b, c}, true, admit, 0, 0, false},
		{"off the list, with old data", []Place{place(0), place(1), place(2)}, []Member{b, c}, true, forget, 0, 0, false},
		{"one cannot open its data", []Place{place(0), place(1, stuck), place(2)}, []Member{a, b, c}, true, expel, 1, 2, false},
		{"and is off the list", []Place{place(0), place(1, stuck), place(2)}, []Member{a, c}, true, forget, 1, 0, false},
		{"a learner cannot open its data", []Place{place(0), place(1), place(2, stuck)}, []Member{a, b, learner}, true, expel, 2, 3, false},
		{"the only one cannot open its data: it stays", []Place{place(0, stuck)}, nil, true, "", 0, 0, true},
		{"two cannot open their data: no majority, nothing is done", []Place{place(0, stuck), place(1, stuck), place(2)}, nil, true, "", 0, 0, true},
		{"a stranger", []Place{place(0), place(1), place(2)}, []Member{a, b, c, {ID: 9, Peers: []string{"px"}}}, true, expel, 0, 9, false},
		{"alone, by another URL", []Place{place(0)}, []Member{{ID: 9, Peers: []string{"px"}}}, true, move, 0, 9, false},
		{"from three to one: the last first", []Place{place(0), place(1, unwanted), place(2, unwanted)}, []Member{a, b, c}, true, expel, 2, 3, false},
		{"off the list it ends", []Place{place(0), place(1, unwanted), place(2, unwanted)}, []Member{a, b}, true, end, 2, 0, false},
		{"fewer, and the one that stays has no data", []Place{place(0, noData), place(1, unwanted), place(2, unwanted)}, []Member{a, b, c}, true, expel, 0, 1, false},
		{"nothing to do", []Place{place(0), place(1), place(2)}, []Member{a, b, c}, true, "", 0, 0, false},
		{"nothing to do for one", []Place{place(0), place(1, unwanted, noData, down)}, []Member{a}, true, "", 0, 0, false},
	} {
		st, err := next(Seen{Places: test.places, Members: test.members, Answers: len(test.members) > 0, Begun: test.begun})
		if st.kind != test.kind || st.place.Number != test.number || st.id != test.id || (err != nil) != test.err {
			t.Errorf("%s: got %q at %d of %d (%v)", test.reason, st.kind, st.place.Number, st.id, err)
		}
	}
	if _, err := next(Seen{Places: []Place{place(0, noData)}, Begun: true}); !errors.Is(err, ErrNoData) {
		t.Errorf("of lost data is said: %v", err)
	}
	if _, err := next(Seen{Places: []Place{place(0, stuck)}, Begun: true}); err == nil || !strings.Contains(err.Error(), "the etcd of a ends whenever it is started") {
		t.Errorf("of data that cannot be opened is said: %v", err)
	}
}
