// Package word answers: what does a word of somebody's change in an object?
//
// Pause, approve, suspend: each is a function that changes the spec of an object that was just read, or says why it does not fit. Terminals
// (`umbel rollout`, `umbel suspend`) and the web console offer the same words, and write what came of them as whoever said them. It reads
// nothing and writes nothing.
package word

import (
	"errors"
	"fmt"
)

// ErrAlreadySo says that there is nothing to change.
var ErrAlreadySo = errors.New("already so")

// Misuse is a word that names what there is not.
type Misuse struct{ why string }

func (m *Misuse) Error() string { return m.why }

func misuse(format string, args ...any) error { return &Misuse{fmt.Sprintf(format, args...)} }
