package session

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// MaxFrame is the most bytes that a message may take.
const MaxFrame = 4 << 20

// FrameError is a frame that is not one of ours. The stream cannot be read any further.
type FrameError struct {
	// Why says what is wrong, such as "a frame of 5000000 bytes: more than 4194304".
	Why string
	Err error
}

func (e *FrameError) Error() string {
	if e.Err == nil {
		return e.Why
	}
	return e.Why + ": " + e.Err.Error()
}

func (e *FrameError) Unwrap() error { return e.Err }

// WriteFrame writes message as one frame, in one Write.
func WriteFrame(w io.Writer, message proto.Message) error {
	size := proto.Size(message)
	if size > MaxFrame {
		return &FrameError{Why: fmt.Sprintf("a frame of %d bytes: more than %d", size, MaxFrame)}
	}
	frame := binary.AppendUvarint(make([]byte, 0, size+binary.MaxVarintLen32), uint64(size))
	frame, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(frame, message)
	if err != nil {
		return fmt.Errorf("encoding a message: %w", err)
	}
	_, err = w.Write(frame)
	return err
}

// ReadFrame reads one frame into message. It returns io.EOF when the stream ends between two frames, and a FrameError
// for what is not a frame.
func ReadFrame(r *bufio.Reader, message proto.Message) error {
	size, err := readLength(r)
	if err != nil {
		return err
	}
	if size > MaxFrame {
		return &FrameError{Why: fmt.Sprintf("a frame of %d bytes: more than %d", size, MaxFrame)}
	}
	body, err := readBody(r, size)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(body, message); err != nil {
		return &FrameError{Why: "a frame that holds no message", Err: err}
	}
	return nil
}

// readLength reads a length of at most 28 bits, which is more than MaxFrame.
func readLength(r *bufio.Reader) (int, error) {
	var length int
	for i := range 4 {
		b, err := r.ReadByte()
		if i > 0 {
			err = cutOff(err)
		}
		if err != nil {
			return 0, err
		}
		length |= int(b&0x7f) << (7 * i)
		if b < 0x80 {
			return length, nil
		}
	}
	return 0, &FrameError{Why: "a frame without a length"}
}

// readBody reads size bytes. Large bodies are paid for as they arrive, not as they are announced.
func readBody(r *bufio.Reader, size int) ([]byte, error) {
	if size <= 64<<10 {
		body := make([]byte, size)
		_, err := io.ReadFull(r, body)
		return body, cutOff(err)
	}
	var body bytes.Buffer
	_, err := io.CopyN(&body, r, int64(size))
	return body.Bytes(), cutOff(err)
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &FrameError{Why: "a frame is cut off", Err: io.ErrUnexpectedEOF}
	}
	return err
}
