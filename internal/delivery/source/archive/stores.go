package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"umbel.dev/umbel/internal/delivery/source"
)

// gone follows the name of a Store that is being deleted.
const gone = ".gone"

// Stores is a folder of Stores, one for each source.
type Stores struct {
	dir string
	mu  sync.Mutex // so that none is opened while it is found to be unused
}

// NewStores returns those of a folder, which is made when it is needed.
func NewStores(dir string) *Stores { return &Stores{dir: dir} }

// Open returns the Store of a source, and notes that it is used. Who names another Secret, or none, has another one.
func (s *Stores) Open(ref source.Ref) (*Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	store := &Store{filepath.Join(s.dir, nameOf(ref))}
	if err := os.MkdirAll(store.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of what is fetched: %w", err)
	}
	now := time.Now()
	if err := os.Chtimes(store.dir, now, now); err != nil {
		return nil, fmt.Errorf("using the folder of what is fetched: %w", err)
	}
	return store, nil
}

func nameOf(ref source.Ref) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", ref.URL, ref.Chart, ref.Secret))
	return hex.EncodeToString(sum[:10])
}

// Sweep deletes the Stores that are of none of the Refs and were not opened lately.
func (s *Stores) Sweep(used []source.Ref, now time.Time) error {
	needed := map[string]bool{}
	for _, ref := range used {
		needed[nameOf(ref)] = true
	}
	folders, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var errs []error
	for _, folder := range folders {
		name := filepath.Join(s.dir, folder.Name())
		switch {
		case needed[folder.Name()]:
		case strings.HasSuffix(name, gone): // of one that was cut off
			errs = append(errs, os.RemoveAll(name))
		default:
			errs = append(errs, s.forget(name, now))
		}
	}
	return errors.Join(errs...)
}

// forget deletes a Store unless somebody opened it lately.
func (s *Stores) forget(name string, now time.Time) error {
	is, err := s.letGo(name, now)
	if err != nil || !is {
		return err
	}
	return os.RemoveAll(name + gone)
}

// letGo takes a Store away from those who open it, unless somebody did so lately.
func (s *Stores) letGo(name string, now time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := os.Stat(name)
	if err != nil || now.Sub(info.ModTime()) < source.UnusedStay {
		return false, err
	}
	return true, os.Rename(name, name+gone)
}
