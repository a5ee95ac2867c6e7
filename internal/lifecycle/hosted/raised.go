package hosted

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// raised remembers which processes were seen to be all right: as long as they live, nothing need be raised.
type raised struct {
	mu   sync.Mutex
	pids map[types.UID]int
}

func newRaised() *raised { return &raised{pids: map[types.UID]int{}} }

// is says whether what was raised for an object is this process.
func (r *raised) is(object types.UID, pid int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return pid != 0 && r.pids[object] == pid
}

func (r *raised) set(object types.UID, pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pids[object] = pid
}

func (r *raised) forget(object types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pids, object)
}
