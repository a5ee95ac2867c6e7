package hosted

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// raised remembers which processes were seen to be all right: as long as they live, nothing need be raised.
type raised struct {
	mu   sync.Mutex
	pids map[types.UID]string
}

func newRaised() *raised { return &raised{pids: map[types.UID]string{}} }

// is says whether what was raised for an object are these processes.
func (r *raised) is(object types.UID, pids string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return pids != "" && r.pids[object] == pids
}

func (r *raised) set(object types.UID, pids string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pids[object] = pids
}

func (r *raised) forget(object types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pids, object)
}
