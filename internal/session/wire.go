package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	"umbel.dev/umbel/api/wire"
)

// send writes a frame; timeout is for each piece of it.
func send(stream net.Conn, message proto.Message, timeout time.Duration) error {
	wire.Stamp(message)
	return ended(WriteFrame(pieces{Conn: stream, each: timeout}, message))
}

// delivery is a message that arrived, or why none will arrive any more.
type delivery[M proto.Message] struct {
	message M
	err     error
}

// receive reads frames until the stream ends, no faster than an honest peer talks. wait returns when the reading has
// ended, which it does soon after the stream was closed.
func receive[M proto.Message](ctx context.Context, reader *bufio.Reader, fresh func() M) (received <-chan delivery[M], wait func()) {
	out := make(chan delivery[M])
	ctx, cancel := context.WithCancel(ctx)
	limiter := rate.NewLimiter(framesPerSecond, frameBurst)
	// hand says whether there is more to read. It stands by itself, so that what waits for the next frame holds little: Go's collector
	// halves a stack of which less than a quarter is in use.
	hand := func(message M, err error) bool {
		if err == nil {
			err = limiter.WaitN(ctx, 1+proto.Size(message)/perToken)
		}
		select {
		case out <- delivery[M]{message, err}:
			return err == nil
		case <-ctx.Done():
			return false
		}
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for more := true; more; {
			message := fresh()
			more = hand(message, ReadFrame(reader, message))
		}
	})
	return out, func() {
		cancel()
		reading.Wait()
	}
}

// ended says what the end of a stream means.
func ended(err error) error {
	var timeout net.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w: the peer does not read", ErrProbeTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return ErrClosed
	}
	return err
}

// jitter spreads the interval by a tenth to either side, so that many sessions do not fall into step.
func jitter(interval time.Duration) time.Duration {
	return interval + time.Duration((rand.Float64()-0.5)*0.2*float64(interval))
}

// clip bounds a text that travels in a message.
func clip(text string) string {
	const most = 1024
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
