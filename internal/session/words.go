package session

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/identity/seal"
)

// words is how far the hub's words of a session are. Either end counts for itself: one that is missing, said twice or of
// another session is none.
type words struct {
	nonce []byte
	count uint64
}

// errUnsealed says that a hub that sealed does so no more.
var errUnsealed = errors.New("it is under no seal, and this hub sealed what it said before: an older version of the hub runs, or somebody stands between")

// ErrNotTheHub: somebody speaks who is connected as the hub is, and is not the hub.
var ErrNotTheHub = errors.New("what was said under the hub's seal is not what the hub said in this session")

// word puts a message under the hub's seal, for an agent that asked for it. What a Probe says moves nothing, and probes are what
// there is most of.
func (h *hubEnd) word(message *wire.FromHub) (*wire.FromHub, error) {
	if h.Trust == nil || !seal.IsNonce(h.words.nonce) || message.GetProbe() != nil {
		return message, nil
	}
	wire.Stamp(message)
	raw, err := proto.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("encoding a message: %w", err)
	}
	sealed, err := h.Trust.Seal(seal.Word{Nonce: h.words.nonce, Number: h.words.count, Message: raw})
	if err != nil {
		return nil, err
	}
	h.words.count++
	word := &wire.Word{Message: raw, Certificates: sealed.Certificates, Signature: sealed.Signature}
	return &wire.FromHub{Message: &wire.FromHub_Word{Word: word}}, nil
}

// wary says whether the agent takes nothing without a seal any more.
func (a *agentEnd) wary() bool { return a.words.count > 0 || a.Fence != nil && a.Fence.Sealed() }

// believe returns what the hub said: nothing in place of what is not followed because it is under no seal. A false seal ends the
// session.
func (a *agentEnd) believe(message *wire.FromHub) (*wire.FromHub, error) {
	if word := message.GetWord(); word != nil {
		return a.open(word)
	}
	if !a.wary() {
		return message, nil
	}
	switch m := message.GetMessage().(type) {
	case *wire.FromHub_Desired:
		ack := &wire.Ack{Version: m.Desired.GetVersion(), Error: "what the hub asks for is refused: " + errUnsealed.Error()}
		return &wire.FromHub{}, a.send(&wire.FromAgent{Message: &wire.FromAgent_Ack{Ack: ack}})
	case *wire.FromHub_Certificate, *wire.FromHub_Trust, *wire.FromHub_Detach, *wire.FromHub_Upgrade, *wire.FromHub_Metrics, *wire.FromHub_Level:
		a.Log.Error("what the hub says is not followed", "message", fmt.Sprintf("%T", m), "because", errUnsealed)
		return &wire.FromHub{}, nil
	case *wire.FromHub_Refusal:
		m.Refusal.Upgrade = nil
	case *wire.FromHub_Welcome:
		a.greeted(m.Welcome)
	}
	return message, nil
}

// greeted takes out of a Welcome that is under no seal what would outlast the session: an epoch that is too high would keep the agent
// from its own hub for good. A hub of before, which seals all else, greets so. One that is too low still ends the session.
func (a *agentEnd) greeted(welcome *wire.Welcome) {
	welcome.ClusterSet, welcome.Metrics, welcome.Level = "", nil, nil
	if welcome.GetEpoch() >= a.latest() {
		welcome.Epoch = nil
	}
}

// open returns what is in a word of this session.
func (a *agentEnd) open(word *wire.Word) (*wire.FromHub, error) {
	sealed := &seal.Seal{Certificates: word.GetCertificates(), Signature: word.GetSignature()}
	said := seal.Word{Nonce: a.words.nonce, Number: a.words.count, Message: word.GetMessage()}
	if err := a.Credentials.Verify(said, sealed); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotTheHub, err)
	}
	a.words.count++
	if a.Fence != nil {
		a.Fence.Seals()
	}
	message := &wire.FromHub{}
	if err := proto.Unmarshal(word.GetMessage(), message); err != nil {
		return nil, fmt.Errorf("reading a word of the hub: %w", err)
	}
	return message, nil
}
