package session

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"umbel.dev/umbel/api/wire"
)

func hello(version string) *wire.FromAgent {
	return &wire.FromAgent{Message: &wire.FromAgent_Hello{Hello: &wire.Hello{Protocol: 1, AgentVersion: version}}}
}

func TestFrames(t *testing.T) {
	var stream bytes.Buffer
	sent := []*wire.FromAgent{hello("v1"), {}, hello(strings.Repeat("x", 200_000))}
	for _, m := range sent {
		if err := WriteFrame(&stream, m); err != nil {
			t.Fatal(err)
		}
	}
	reader := bufio.NewReaderSize(&stream, 16)
	for i, want := range sent {
		var got wire.FromAgent
		if err := ReadFrame(reader, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, &got, protocmp.Transform()); diff != "" {
			t.Errorf("message %d (-want +got):\n%s", i, diff)
		}
	}
	if err := ReadFrame(reader, &wire.FromAgent{}); err != io.EOF {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
}

func TestFramesThatAreNone(t *testing.T) {
	if err := WriteFrame(io.Discard, hello(strings.Repeat("x", MaxFrame))); !strings.Contains(err.Error(), "more than 4194304") {
		t.Errorf("a message that is too large: %v", err)
	}
	for _, c := range []struct {
		reason, bytes, want string
	}{
		{"cut off in the length", "\x80", "cut off"},
		{"no length", "\xff\xff\xff\xff\xff", "without a length"},
		{"too large", "\xff\xff\xff\x7f", "more than 4194304"},
		{"cut off in the body", "\x05ab", "cut off"},
		{"cut off in a large body", "\xff\xff\x7fab", "cut off"},
		{"not a message", "\x02\xff\xff", "holds no message"},
	} {
		err := ReadFrame(bufio.NewReader(strings.NewReader(c.bytes)), &wire.FromAgent{})
		var frame *FrameError
		if !errors.As(err, &frame) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want a FrameError that says %q", c.reason, err, c.want)
		}
	}
}

// A length alone costs nothing: a peer has to send what it announces.
func TestAnnouncedFrameCostsNoMemory(t *testing.T) {
	allocated := testing.AllocsPerRun(10, func() {
		ReadFrame(bufio.NewReader(strings.NewReader("\xff\xff\xff\x01xyz")), &wire.FromAgent{})
	})
	if allocated > 20 {
		t.Errorf("%v allocations for a frame that never came", allocated)
	}
}

func FuzzReadFrame(f *testing.F) {
	var seed bytes.Buffer
	if err := WriteFrame(&seed, hello("v1")); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.Bytes())
	f.Add([]byte("\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		reader := bufio.NewReader(bytes.NewReader(raw))
		for {
			var message wire.FromAgent
			if err := ReadFrame(reader, &message); err != nil {
				return
			}
			var again bytes.Buffer
			if err := WriteFrame(&again, &message); err != nil {
				t.Fatal(err)
			}
			var back wire.FromAgent
			if err := ReadFrame(bufio.NewReader(&again), &back); err != nil || !proto.Equal(&message, &back) {
				t.Fatalf("a message did not survive: %v", err)
			}
			_ = checkHello(message.GetHello())
		}
	})
}
