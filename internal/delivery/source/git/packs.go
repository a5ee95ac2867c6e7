package git

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/renameio/v2"

	"umbel.dev/umbel/internal/delivery/source"
)

// Folders in a mirror beside those of Git: of the pack that is being made, and of notes which packs a pack is in place of.
const (
	joiningFolder  = "umbel-joining"
	replacedFolder = "umbel-replaced"
)

// replacedStay is how long packs that were replaced stay after nobody is shown them any more, for those who read a tree meanwhile.
const replacedStay = 10 * time.Minute

// packs are those of a mirror. Each fetch makes one more, and whoever opens the mirror reads the indexes of all that are shown.
type packs struct {
	dir string // of the mirror

	mu     sync.Mutex
	hidden map[plumbing.Hash]time.Time // those that another one is in place of, since when this process shows them to nobody
}

// hide has nobody shown packs that another one is in place of, and returns since when each is not.
func (p *packs) hide(replaced []plumbing.Hash, now time.Time) map[plumbing.Hash]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hidden == nil {
		p.hidden = map[plumbing.Hash]time.Time{}
	}
	for _, one := range replaced {
		if _, is := p.hidden[one]; !is {
			p.hidden[one] = now
		}
	}
	return maps.Clone(p.hidden)
}

// shown are the files of a mirror but for packs that another one is in place of.
type shown struct {
	billy.Filesystem
	packs *packs
}

// ReadDir lists a folder. Packs are looked for by the files of their objects. What is hidden is asked before: then what is in place
// of it is in the list. A file that goes while the list is made, as each fetch has one, is left out of it: to go-git it would be a
// folder that is not there, and a mirror without any pack.
func (s shown) ReadDir(name string) ([]fs.FileInfo, error) {
	hidden := s.packs.hide(nil, time.Time{})
	entries, err := os.ReadDir(filepath.Join(s.packs.dir, name))
	if err != nil {
		return nil, err
	}
	var files []fs.FileInfo
	for _, entry := range entries {
		if name, is := packName(entry.Name()); is {
			if _, hides := hidden[name]; hides {
				continue
			}
		}
		file, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// tidy makes few packs of many. It may be cut off anywhere: a pack is complete before it gets its name, and others are deleted
// long after that. What is fetched meanwhile goes on.
func (p *packs) tidy(now time.Time) error {
	if err := p.leftovers(now); err != nil {
		return fmt.Errorf("deleting what fetches that were cut off left in mirror %s: %w", filepath.Base(p.dir), err)
	}
	hidden, err := p.letGo(now)
	if err != nil {
		return fmt.Errorf("deleting packs of mirror %s that were replaced: %w", filepath.Base(p.dir), err)
	}
	there, err := packsIn(p.folder())
	if err != nil {
		return fmt.Errorf("listing the packs of mirror %s: %w", filepath.Base(p.dir), err)
	}
	there = slices.DeleteFunc(there, func(one pack) bool {
		_, is := hidden[one.name]
		return is
	})
	parts := toJoin(there)
	if len(parts) == 0 {
		return nil
	}
	if err := p.join(parts, now); err != nil {
		return fmt.Errorf("making one pack of %d in mirror %s: %w", len(parts), filepath.Base(p.dir), err)
	}
	return nil
}

// leftovers deletes what fetches were writing when the hub ended.
func (p *packs) leftovers(now time.Time) error {
	files, err := filepath.Glob(filepath.Join(p.folder(), "tmp_pack_*")) // as go-git calls them
	if err != nil {
		return err
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err == nil && now.Sub(info.ModTime()) > source.UnusedStay {
			err = os.Remove(file)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// folder is where they are.
func (p *packs) folder() string { return filepath.Join(p.dir, "objects", "pack") }

// join makes one pack of many and notes that the others are not needed any more.
func (p *packs) join(parts []pack, now time.Time) error {
	into := filepath.Join(p.dir, joiningFolder)
	if err := os.RemoveAll(into); err != nil { // of one that was cut off
		return err
	}
	if err := os.Mkdir(into, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(into) //nolint:errcheck // the next one does it
	name, replaced, err := join(p.folder(), into, parts)
	if err != nil || len(replaced) == 0 {
		return err
	}
	// A pack is looked for by the file of its objects, and then its index has to be there.
	for _, file := range []string{indexFile(name), packFile(name)} {
		if err := os.Rename(filepath.Join(into, file), filepath.Join(p.folder(), file)); err != nil {
			return err
		}
	}
	if err := syncFolder(p.folder()); err != nil {
		return err
	}
	return p.note(name, replaced, now)
}

// note writes down which packs a pack is in place of. Where a crash comes before it, they are found to be in that pack by the
// next one.
func (p *packs) note(name plumbing.Hash, replaced []plumbing.Hash, now time.Time) error {
	folder := filepath.Join(p.dir, replacedFolder)
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	var text strings.Builder
	for _, one := range replaced {
		fmt.Fprintln(&text, one)
	}
	if err := renameio.WriteFile(filepath.Join(folder, name.String()), []byte(text.String()), 0o600); err != nil {
		return err
	}
	p.hide(replaced, now)
	return nil
}

// letGo deletes the packs that nobody was shown for long enough, and returns those that stay hidden.
func (p *packs) letGo(now time.Time) (map[plumbing.Hash]time.Time, error) {
	folder := filepath.Join(p.dir, replacedFolder)
	notes, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, note := range notes {
		file := filepath.Join(folder, note.Name())
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !fullHash.MatchString(note.Name()) || !p.has(plumbing.NewHash(note.Name())) {
			if err := os.Remove(file); err != nil { // nothing is in place of them
				return nil, err
			}
			continue
		}
		if err := p.replaced(file, strings.Fields(string(text)), now); err != nil {
			return nil, err
		}
	}
	return p.hide(nil, now), nil
}

// replaced hides the packs of a note, or deletes them and it when they were hidden for long enough.
func (p *packs) replaced(note string, names []string, now time.Time) error {
	packs := make([]plumbing.Hash, len(names))
	for i, name := range names {
		packs[i] = plumbing.NewHash(name)
	}
	hidden := p.hide(packs, now)
	for _, one := range packs {
		if now.Sub(hidden[one]) < replacedStay {
			return nil
		}
	}
	for _, one := range packs {
		for _, file := range []string{packFile(one), indexFile(one)} {
			if err := os.Remove(filepath.Join(p.folder(), file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if err := os.Remove(note); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range packs {
		delete(p.hidden, one) // it may be fetched again
	}
	return nil
}

// has says whether a pack is there, with its index.
func (p *packs) has(name plumbing.Hash) bool {
	for _, file := range []string{indexFile(name), packFile(name)} {
		if _, err := os.Stat(filepath.Join(p.folder(), file)); err != nil {
			return false
		}
	}
	return true
}

func syncFolder(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
