package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/google/renameio/v2"

	"umbel.dev/umbel/internal/delivery/source"
)

// Store is a folder of blobs, each under its digest, as sha256:….
type Store struct {
	dir string
}

// keptBlobs is how many blobs a Store keeps, those that were used last: a Release may be of an older revision.
const keptBlobs = 40

// ErrDamaged says that a blob is not what its digest stands for.
var ErrDamaged = errors.New("is not what its digest stands for")

var wholeDigest = regexp.MustCompile(`^sha256:([0-9a-f]{64})$`)

// Dir is its folder.
func (s *Store) Dir() string { return s.dir }

func (s *Store) file(digest string) (string, error) {
	found := wholeDigest.FindStringSubmatch(digest)
	if found == nil {
		return "", fmt.Errorf("%q is no digest of SHA-256", digest)
	}
	return filepath.Join(s.dir, found[1]), nil
}

// Has says whether a blob is there.
func (s *Store) Has(digest string) bool {
	file, err := s.file(digest)
	if err != nil {
		return false
	}
	_, err = os.Stat(file)
	return err == nil
}

// Put writes a blob of at most limit bytes, and compares it with its digest.
func (s *Store) Put(digest string, blob io.Reader, limit int64) error {
	file, err := s.file(digest)
	if err != nil {
		return err
	}
	pending, err := renameio.NewPendingFile(file, renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer pending.Cleanup() //nolint:errcheck // nothing is left to do when it got its name
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(pending, sum), io.LimitReader(blob, limit+1))
	switch {
	case err != nil:
		return err
	case n > limit:
		return source.ErrTooLarge
	case "sha256:"+hex.EncodeToString(sum.Sum(nil)) != digest:
		return fmt.Errorf("what the server sent %w, %s", ErrDamaged, digest)
	}
	if err := pending.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return s.prune()
}

// Read hands a blob to a function, and compares it with its digest afterwards. The function reads it to its end. A blob that
// is damaged is deleted, so that it is fetched again.
func (s *Store) Read(digest string, use func(io.Reader) error) error {
	file, err := s.file(digest)
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has not been fetched, or not kept", digest)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	now := time.Now()
	_ = os.Chtimes(file, now, now) // it is kept longer then; if not, it is fetched again
	hashed := &hashing{Reader: f, sum: sha256.New()}
	used := use(hashed)
	if _, err := io.Copy(io.Discard, hashed); err != nil {
		return err
	}
	if "sha256:"+hex.EncodeToString(hashed.sum.Sum(nil)) != digest {
		return errors.Join(fmt.Errorf("%s in the cache %w", digest, ErrDamaged), os.Remove(file))
	}
	return used
}

type hashing struct {
	io.Reader
	sum hash.Hash
}

func (h *hashing) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	h.sum.Write(p[:n])
	return n, err
}

// prune deletes the blobs that were not used for longest.
func (s *Store) prune() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) <= keptBlobs {
		return err
	}
	used := map[string]time.Time{}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil {
			used[entry.Name()] = info.ModTime()
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return used[a.Name()].Compare(used[b.Name()]) })
	for _, entry := range entries[:len(entries)-keptBlobs] {
		if err := os.Remove(filepath.Join(s.dir, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
