package gateway

import (
	"fmt"
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/session"
)

// The status of a member names what the member may hold, from before it is told until it says that it does not: the hub
// may die and the line may be cut at any point in between.
func TestAPackageThatWasNeverReportedIsListed(t *testing.T) {
	h := newHub(t)
	boot := h.invite("prod-eu", time.Now().Add(time.Hour))
	a := h.newAgent(boot, t.TempDir())
	a.packages.mute = true
	a.start()
	h.shows("prod-eu", v1alpha1.ConditionConnected, "True/ProbeAnswered")
	h.desires.set("prod-eu", assigned("web-1"), true)
	h.eventually("the agent has stored the package", func() (bool, string) {
		a.packages.mu.Lock()
		defer a.packages.mu.Unlock()
		return a.packages.held["shop/web"] != nil, fmt.Sprint(a.packages.held)
	})
	listed := func(when string, want int) {
		t.Helper()
		h.eventually(fmt.Sprintf("%d packages are listed %s", want, when), func() (bool, string) {
			p := h.member("prod-eu").Status.Packages
			return len(p) == want, fmt.Sprintf("%+v", p)
		})
	}
	listed("while it is in session", 1)
	a.stop()
	h.desires.set("prod-eu", session.DesiredSet{}, true) // nobody wants it any more
	h.shows("prod-eu", v1alpha1.ConditionConnected, "Unknown/SessionClosed")
	listed("when the line is cut", 1)
	h.stop()
	h.start()
	listed("when the hub has restarted", 1)

	h.newAgent(boot, a.dir).start() // it holds nothing, as it says
	h.shows("prod-eu", v1alpha1.ConditionReady, "True/NoPackages")
	listed("when the agent has said that it holds nothing", 0)
}
