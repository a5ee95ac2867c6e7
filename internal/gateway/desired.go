package gateway

import (
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/session"
)

// Desired says what each member is to hold. Package delivery implements it; both methods may be called at any time
// and from many goroutines.
type Desired interface {
	// For returns what the cluster is to hold. It does not block. ready is false as long as that is not known, for
	// example while caches fill: the member is then told nothing. A cluster that nobody heard of gets an empty set,
	// which changes nothing on the member.
	For(cluster v1alpha1.ClusterName) (set session.DesiredSet, ready bool)

	// Subscribe returns a channel that holds a token after the answer of For may have changed, readiness included;
	// several changes may share one token, and a token may come without a change. The channel has a buffer of one
	// and is never closed. cancel ends the subscription; it may be called more than once.
	Subscribe(cluster v1alpha1.ClusterName) (changed <-chan struct{}, cancel func())
}
