package apply

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"umbel.dev/umbel/api/wire"
)

// TestNothingIsWrittenOnAMemberThatIsObserved: what packages put there is watched and told; the engine after puts it right.
func TestNothingIsWrittenOnAMemberThatIsObserved(t *testing.T) {
	s := newStation(t)
	s.start()
	repairing := s.release("shop/web", "one", s.configMap("a", map[string]string{"k": "1"}), s.configMap("b", map[string]string{"k": "2"}))
	s.assign(repairing)
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	next := s.release("shop/web", "two", s.configMap("a", map[string]string{"k": "3"}))
	s.offline.Store(true)
	s.assign(next) // and it cannot be pulled
	s.stop()

	s.remove("b") // while nobody looks
	s.offline.Store(false)
	s.writes.Store(0)
	s.observes = true
	s.start()
	s.update("a", func(cm *corev1.ConfigMap) { cm.Data["k"] = "theirs" })
	s.eventually("both drifts are told", func() error {
		st := s.status("shop/web")
		if st.GetPhase() != wire.PackageStatus_APPLYING || st.GetDrifting() != 2 || !strings.Contains(st.GetMessage(), "observed") {
			return fmt.Errorf("it is %v", st)
		}
		return nil
	})
	for _, order := range []*wire.DesiredState{{Assign: []*wire.Assignment{repairing}}, {Remove: []string{"shop/web"}}, {Undo: []string{"0123abcd"}}} {
		if err := s.engine.Store(t.Context(), order); !errors.Is(err, errObserved) {
			t.Errorf("%v was taken: %v", order, err)
		}
	}
	s.stop()
	if got := s.writes.Load(); got != 0 {
		t.Errorf("%d writes on a member that is observed", got)
	}

	s.observes = false
	s.start()
	s.reaches("shop/web", "two", wire.PackageStatus_APPLIED)
	s.hasData("a", map[string]string{"k": "3"})
	s.lacks("b")
}
