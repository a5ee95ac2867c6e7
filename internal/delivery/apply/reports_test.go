package apply

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestNewsOfManyDriftsAreToldTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReports()
		wakes := func() (n int) {
			synctest.Wait()
			for n = len(r.wake); len(r.wake) > 0; {
				<-r.wake
			}
			return n
		}
		for i := range driftBurst {
			r.drifted("team/first", time.Now())
			if got := wakes(); got != 1 {
				t.Errorf("news %d by itself: %d wakes, want 1", i+1, got)
			}
		}
		told := 0
		for i := range 3000 { // for a minute
			r.drifted(v1alpha1.PackageKey(fmt.Sprintf("team/p%d", i%50)), time.Now())
			told += wakes()
			time.Sleep(20 * time.Millisecond)
		}
		if told += wakes(); told < 11 || told > 12 {
			t.Errorf("50 drifts a second in 50 packages were told %d times in a minute, want every %s", told, driftGap)
		}
		if len(r.dirty) != 51 {
			t.Errorf("%d packages are to be told of, want 51", len(r.dirty))
		}
		time.Sleep(time.Minute)
		wakes()
		r.drifted("team/first", time.Now().Add(-time.Hour))
		time.Sleep(2 * driftGap)
		if got := wakes(); got != 1 {
			t.Errorf("with a clock that was set back: %d wakes within %s, want 1", got, 2*driftGap)
		}
	})
}
