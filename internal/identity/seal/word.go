package seal

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
)

// Word is a message of a hub to one agent in one session.
type Word struct {
	// Cluster is whose agent is meant.
	Cluster string
	// Nonce is what the agent drew for the session, and Number how many words there were in it before: so a word counts once.
	Nonce  []byte
	Number uint64
	// Message is the message, as it is sent.
	Message []byte
}

// minNonce is how long a nonce is at least. An agent draws twice as much.
const minNonce = 16

// NewNonce draws what makes the words of a session those of this one.
func NewNonce() []byte {
	nonce := make([]byte, 2*minNonce)
	_, _ = rand.Read(nonce) // never fails
	return nonce
}

// IsNonce says whether a hub may sign for it: what an older agent sends is none.
func IsNonce(nonce []byte) bool { return len(nonce) >= minNonce && len(nonce) <= 4*minNonce }

func (w *Word) bytes() []byte {
	return fmt.Appendf(nil, "umbel word 1\ncluster %q\nnonce %x\nnumber %d\nmessage %x\n", w.Cluster, w.Nonce, w.Number, sha256.Sum256(w.Message))
}

func (w *Word) about() []string {
	return []string{fmt.Sprintf("word %d of this session to cluster %q", w.Number, w.Cluster)}
}
