package quorum

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
)

// Snapshot writes what the etcd at a URL holds at this moment, as etcdctl saves it: the database, and its SHA-256 behind it, which is
// verified. It asks no other member: what one holds that a majority has not acknowledged yet may be in it.
func Snapshot(ctx context.Context, url string, config *tls.Config, out io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v3/maintenance/snapshot", bytes.NewReader([]byte("{}")))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("asking etcd for a snapshot: %s: %s", url, response.Status)
	}
	sum := &summed{out: out, sum: sha256.New()}
	if err := copyBlobs(response.Body, sum); err != nil {
		return fmt.Errorf("reading a snapshot from %s: %w", url, err)
	}
	return sum.verify()
}

// copyBlobs writes the parts of a snapshot.
func copyBlobs(from io.Reader, out io.Writer) error {
	for parts := json.NewDecoder(from); ; {
		var part struct {
			Result *struct {
				Blob []byte `json:"blob"`
			} `json:"result"`
			Error *struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		err := parts.Decode(&part)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case part.Error != nil:
			return errors.New(part.Error.Message)
		case part.Result == nil:
			continue
		}
		if _, err := out.Write(part.Result.Blob); err != nil {
			return err
		}
	}
}

// summed hands on what is written, and knows the SHA-256 of all but the last 32 bytes, and these.
type summed struct {
	out  io.Writer
	sum  hash.Hash
	tail []byte
	size int
}

func (s *summed) Write(part []byte) (int, error) {
	s.size += len(part)
	s.tail = append(s.tail, part...)
	if over := len(s.tail) - sha256.Size; over > 0 {
		s.sum.Write(s.tail[:over])
		s.tail = append(s.tail[:0], s.tail[over:]...)
	}
	return s.out.Write(part)
}

func (s *summed) verify() error {
	if s.size <= sha256.Size || !bytes.Equal(s.tail, s.sum.Sum(nil)) {
		return fmt.Errorf("the snapshot ended after %d bytes, which are not all of it", s.size)
	}
	return nil
}
