package hosted

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// firstPause is when a restore that failed is tried again, which doubles each time, and longestPause the most.
const firstPause, longestPause = 10 * time.Second, 5 * time.Minute

// tries remembers which restores failed. A snapshot is fetched whole each time, so that it is not tried whenever the control plane is
// looked at. Whoever asks for a restore anew has it tried at once.
type tries struct {
	mu sync.Mutex
	of map[types.UID]try
}

// try is the last one of an object.
type try struct {
	request string
	err     error
	pause   time.Duration
	next    time.Time
}

func newTries() *tries { return &tries{of: map[types.UID]try{}} }

// rests returns why a request failed when it is not to be tried yet; nil when it is.
func (t *tries) rests(object types.UID, request string, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last := t.of[object]; last.request == request && now.Before(last.next) {
		return last.err
	}
	return nil
}

// ended takes down how a try went.
func (t *tries) ended(object types.UID, request string, err error, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		delete(t.of, object)
		return
	}
	pause := firstPause
	if last := t.of[object]; last.request == request {
		pause = min(2*last.pause, longestPause)
	}
	t.of[object] = try{request: request, err: err, pause: pause, next: now.Add(pause)}
}
