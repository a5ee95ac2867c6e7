package kubeproxy

import (
	"io"
	"time"

	"umbel.dev/umbel/internal/tunnel"
)

// gathering is how long pieces of a large answer gather before they are sent on.
const gathering = 4 * time.Millisecond

// gathered is the body of an answer whose pieces gather where there are many.
type gathered struct {
	io.ReadCloser
	over   <-chan struct{} // closed when the request is
	gather tunnel.Gather
}

// Read implements io.Reader.
func (g *gathered) Read(p []byte) (int, error) { return g.gather.Read(g.over, g.ReadCloser, p) }
