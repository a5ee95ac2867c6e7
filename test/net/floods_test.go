//go:build e2e

package net

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// What a member may cost that does as it likes.
const (
	// slower is how many times longer than in quiet times others may wait. Hub, members and rogue share the processors of one
	// machine here, and the rogue takes what it gets.
	slower = 20
	// floodHeap and floodGoroutines are what the hub may hold more, while it lasts.
	floodHeap, floodGoroutines = 96 << 20, 400
	floodLasts                 = 6 * time.Second
)

// TestFloods: a member that was taken over does what it can to the hub, one deed after the other. The sessions of others go
// on, what people ask of them is answered nearly as before, and the hub stays small.
func TestFloods(t *testing.T) {
	w := newWorld(t, probeInterval)
	honest := w.join("honest", "").start().connected()
	shell, err := honest.exec(t.Context())
	w.must(err)
	defer shell.Close()
	a := &asker{place: honest, shell: shell}
	quiet := a.asks(floodLasts)
	t.Logf("in quiet times: %v", quiet)
	for i, deed := range slices.Sorted(maps.Keys(deeds)) {
		name := v1alpha1.ClusterName(fmt.Sprintf("rogue-%d", i))
		w.hub.tell(order{Do: "hold", Cluster: string(name), Value: "v1", Noise: 8 << 20})
		before := w.hub.tell(order{Do: "use"}).Usage
		evil := w.joinRogue(name, deed)
		evil.process.tell(order{Do: "start"})
		w.eventually("it is at work", func() error {
			if n := evil.process.tell(order{Do: "done"}).Done; n == 0 {
				return fmt.Errorf("%d done", n)
			}
			return nil
		})
		asked, stopAsking := context.WithCancel(t.Context())
		go evil.get(asked, "/api/v1/namespaces/default/pods") // somebody asks the rogue itself, too
		flooded := a.asks(floodLasts)
		stopAsking()
		held := w.hub.tell(order{Do: "use"}).Usage
		did := evil.process.tell(order{Do: "done"}).Done
		began, _ := evil.sessions()
		t.Logf("%s: %d in %d sessions; others: %v; the hub holds %v, and held %v", deed, did, began, flooded, held, before)
		if flooded.median > slower*quiet.median {
			t.Errorf("%s: others wait %v, and %v without it", deed, flooded, quiet)
		}
		if held.Heap > before.Heap+floodHeap || held.Goroutines > before.Goroutines+floodGoroutines {
			t.Errorf("%s: the hub holds %v, and held %v", deed, held, before)
		}
		honest.steady()
		if err := honest.is(metav1.ConditionTrue); err != nil {
			t.Errorf("%s: %v", deed, err)
		}
		evil.process.kill()
		w.eventually("what it cost is gone", func() error {
			now := w.hub.tell(order{Do: "use"}).Usage
			if now.exceeds(before) {
				return fmt.Errorf("after %s the hub holds %v, and held %v", deed, now, before)
			}
			return nil
		})
	}
}

// joinRogue makes a member that does a deed.
func (w *world) joinRogue(name v1alpha1.ClusterName, deed string) *place {
	w.Helper()
	p := w.prepare(name, "", deedEnv+"="+deed)
	p.settle("rogue")
	w.Cleanup(func() { w.must(p.line.Close()) })
	return p
}

// asker is somebody who types in a shell, and asks now and then.
type asker struct {
	*place
	shell interface {
		Read([]byte) (int, error)
		Write([]byte) (int, error)
	}
	sent, back pattern
}

// waits are how long answers took.
type waits struct {
	answers       int
	median, worst time.Duration
}

func (w waits) String() string {
	return fmt.Sprintf("%d answers, the median after %v, the last after %v", w.answers, w.median.Round(10*time.Microsecond), w.worst.Round(time.Millisecond))
}

func (a *asker) asks(lasts time.Duration) waits {
	a.Helper()
	var took []time.Duration
	for began := time.Now(); time.Since(began) < lasts; {
		key := time.Now()
		a.must(echoes(a.shell, &a.sent, &a.back, 10))
		took = append(took, time.Since(key))
		if len(took)%20 == 0 {
			if _, err := a.get(a.Context(), "/api/v1/namespaces/default/configmaps"); err != nil {
				a.Fatalf("asking a member beside a flood: %v", err)
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	slices.Sort(took)
	return waits{len(took), took[len(took)/2], took[len(took)-1]}
}
