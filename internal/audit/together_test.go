package audit

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// replicaLog is a Source that has events of these times, numbered as they are.
type replicaLog struct {
	numbers []int
	err     error
	follow  chan int // what happens while it is followed
}

func (s replicaLog) Read(ctx context.Context, query Query, yield func(line []byte) error) (Report, error) {
	say := func(n int) error {
		event := numbered(n)
		event.StageTimestamp.Time = time.Unix(int64(n), 0)
		return yield(encode(event))
	}
	for _, n := range s.numbers {
		if query.Follow {
			break
		}
		if err := say(n); err != nil {
			return Report{}, err
		}
	}
	for query.Follow && s.err == nil {
		select {
		case n := <-s.follow:
			if err := say(n); err != nil {
				return Report{}, err
			}
		case <-ctx.Done():
			return Report{Damaged: 1}, nil
		}
	}
	return Report{Damaged: 1}, s.err
}

func TestTogetherIsInTheOrderOfTime(t *testing.T) {
	var many []int
	for n := range 500 {
		many = append(many, 1000+n)
	}
	got, report := numbers(t, Together{"a": replicaLog{numbers: []int{1, 4, 5}}, "b": replicaLog{numbers: []int{2, 3, 9}}, "c": replicaLog{}, "d": replicaLog{numbers: many}})
	if want := append([]int{1, 2, 3, 4, 5, 9}, many...); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if report.Damaged != 4 {
		t.Errorf("%d lines were damaged, want one of each", report.Damaged)
	}
}

// What one replica fails with hides nothing of what the others have, and is said.
func TestTogetherWithoutOne(t *testing.T) {
	var got int
	_, err := Together{"a": replicaLog{numbers: []int{1, 3}}, "replica b": replicaLog{err: errors.New("gone")}}.Read(t.Context(), Query{},
		func([]byte) error { got++; return nil })
	if got != 2 || err == nil || err.Error() != "replica b: gone" {
		t.Errorf("got %d events and %v", got, err)
	}
}

// Who has seen enough ends it, however much there is, of what was and of what comes.
func TestTogetherEndsWithItsReader(t *testing.T) {
	enough := errors.New("enough")
	many := make([]int, 1000)
	a, b := make(chan int), make(chan int)
	for _, query := range []Query{{}, {Follow: true}} {
		ctx, cancel := context.WithCancel(t.Context())
		for _, comes := range []chan int{a, b} {
			go func() { // more than anybody takes
				for n := 1; ; n++ {
					select {
					case comes <- n:
					case <-ctx.Done():
						return
					}
				}
			}()
		}
		seen := 0
		_, err := Together{"a": replicaLog{numbers: many, follow: a}, "b": replicaLog{numbers: many, follow: b}}.Read(ctx, query, func([]byte) error {
			if seen++; seen > 2*len(many) || !query.Follow { // beyond what was
				return enough
			}
			return nil
		})
		cancel()
		if !errors.Is(err, enough) {
			t.Errorf("%+v: got %v", query, err)
		}
	}
}

func TestTogetherFollows(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a, b := make(chan int), make(chan int)
	seen, ended := make(chan int), make(chan error, 1)
	go func() {
		_, err := Together{"a": replicaLog{numbers: []int{1}, follow: a}, "b": replicaLog{numbers: []int{2}, follow: b}}.Read(ctx, Query{Follow: true},
			func(line []byte) error {
				n, _ := numberOf(line)
				seen <- n
				return nil
			})
		ended <- err
	}()
	if first, second := <-seen, <-seen; first != 1 || second != 2 {
		t.Errorf("what was before is %d, %d", first, second)
	}
	b <- 7
	if n := <-seen; n != 7 {
		t.Errorf("then came %d", n)
	}
	a <- 8
	if n := <-seen; n != 8 {
		t.Errorf("then came %d", n)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// Who follows is told that a replica is gone: from then on something would be missing.
func TestTogetherSaysThatOneIsLost(t *testing.T) {
	_, err := Together{"a": replicaLog{follow: make(chan int)}, "replica b": replicaLog{err: errors.New("gone")}}.Read(t.Context(), Query{Follow: true},
		func([]byte) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "replica b: gone") {
		t.Errorf("got %v", err)
	}
}
