package gateway

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	// maxUnreadPerson and maxUnreadMember are how many answers may wait for who asked to read them: of one person, and of one
	// member. Each holds a window of its stream, a megabyte; one that is read, or says nothing, as a watch mostly does, holds
	// next to nothing, however many there are. Of what others leave of a member, a person may have half, and always one: so no
	// number of people keeps another one out.
	maxUnreadPerson = 128
	maxUnreadMember = 256
	// unreadAfter is how long one write of an answer takes until the answer counts as unread.
	unreadAfter = time.Second
)

// unread counts the answers that wait for their reader, so that nobody fills the hub's memory by asking for much and reading
// nothing. It is safe for concurrent use.
type unread struct {
	perPerson, perMember int
	after                time.Duration

	mu      sync.Mutex
	people  map[string]int
	members map[v1alpha1.ClusterName]map[string]int // how many of whom
}

func newUnread() *unread {
	return &unread{
		perPerson: maxUnreadPerson, perMember: maxUnreadMember, after: unreadAfter,
		people: map[string]int{}, members: map[v1alpha1.ClusterName]map[string]int{},
	}
}

// full says why a person is to read before anything else is asked of a member, or of the hub's own API when cluster is empty;
// empty when they need not.
func (u *unread) full(person string, cluster v1alpha1.ClusterName) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.people[person] >= u.perPerson:
		return fmt.Sprintf("%d answers wait for you to read them, which is as many as one person may have; read or close some, then try again", u.people[person])
	case u.memberFull(person, cluster):
		return fmt.Sprintf("%d answers of cluster %q wait for you to read them, and as many as may of others; read or close some, then try again",
			u.members[cluster][person], cluster)
	}
	return ""
}

// memberFull says whether a person has as many answers of a member as they may. The hub's own API, which is no member and
// has no name here, has as many as its people: one of them keeps nobody else from it. The caller holds the lock.
func (u *unread) memberFull(person string, cluster v1alpha1.ClusterName) bool {
	if cluster == "" {
		return false
	}
	own, others := 0, 0
	for name, n := range u.members[cluster] {
		if name == person {
			own = n
		} else {
			others += n
		}
	}
	return own >= max((u.perMember-others)/2, 1)
}

// enter counts an answer, unless there is no room for it.
func (u *unread) enter(person string, cluster v1alpha1.ClusterName) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.people[person] >= u.perPerson || u.memberFull(person, cluster) {
		return false
	}
	u.people[person]++
	if u.members[cluster] == nil {
		u.members[cluster] = map[string]int{}
	}
	u.members[cluster][person]++
	return true
}

func (u *unread) leave(person string, cluster v1alpha1.ClusterName) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.people[person]--; u.people[person] == 0 {
		delete(u.people, person)
	}
	of := u.members[cluster]
	if of[person]--; of[person] == 0 {
		delete(of, person)
	}
	if len(of) == 0 {
		delete(u.members, cluster)
	}
}

// answering returns a writer for the answer of a member, or of the hub's own API, to a person. cut hears when the answer has to go, because it waits and
// there is no room for another one that does.
func (u *unread) answering(w http.ResponseWriter, person string, cluster v1alpha1.ClusterName, cut func()) *patient {
	p := &patient{ResponseWriter: w, writes: &writes{unread: u, person: person, cluster: cluster}}
	p.writes.cut = func() {
		cut()
		_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0)) // an answer that cannot be cut off goes on
	}
	return p
}

// writes are those of one answer, one after the other.
type writes struct {
	unread  *unread
	person  string
	cluster v1alpha1.ClusterName
	cut     func()

	mu      sync.Mutex
	timer   *time.Timer // of the one that is under way
	since   time.Time   // when it began; zero when none is
	counted bool
}

func (w *writes) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Now()
	if w.timer == nil {
		w.timer = time.AfterFunc(w.unread.after, w.late)
		return
	}
	w.timer.Reset(w.unread.after)
}

func (w *writes) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.since = time.Time{}
	if w.counted {
		w.counted = false
		w.unread.leave(w.person, w.cluster)
	}
}

// late finds that a write waits for its reader.
func (w *writes) late() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() || w.counted {
		return
	}
	if left := w.unread.after - time.Since(w.since); left > 0 { // it is the one after
		w.timer.Reset(left)
		return
	}
	if w.counted = w.unread.enter(w.person, w.cluster); !w.counted {
		w.cut()
	}
}

// patient is the writer of an answer.
type patient struct {
	http.ResponseWriter
	writes *writes
}

// Unwrap implements what http.ResponseController asks for.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// Write implements http.ResponseWriter.
func (p *patient) Write(b []byte) (int, error) {
	p.writes.begin()
	defer p.writes.end()
	return p.ResponseWriter.Write(b)
}

// FlushError implements what http.ResponseController asks for.
func (p *patient) FlushError() error {
	p.writes.begin()
	defer p.writes.end()
	return http.NewResponseController(p.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker.
func (p *patient) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(p.ResponseWriter).Hijack()
	if err != nil {
		return conn, buffered, err
	}
	p.writes.mu.Lock()
	defer p.writes.mu.Unlock()
	cut := p.writes.cut
	p.writes.cut = func() {
		cut()
		_ = conn.SetWriteDeadline(time.Unix(1, 0))
	}
	secure, ok := conn.(*tls.Conn) // as every connection at the door is
	if !ok {
		return conn, buffered, nil
	}
	return &patientConn{secure, p.writes}, buffered, nil
}

// patientConn is a connection that was taken over.
type patientConn struct {
	*tls.Conn
	writes *writes
}

// Write implements net.Conn.
func (c *patientConn) Write(b []byte) (int, error) {
	c.writes.begin()
	defer c.writes.end()
	return c.Conn.Write(b)
}
