package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"umbel.dev/umbel/internal/delivery/source"
)

// parentsFolder is a folder in a mirror, beside those of Git: of the names of the mirrors whose submodule this one is.
const parentsFolder = "umbel-parents"

// gone follows the name of a mirror that is being deleted.
const gone = ".gone"

var _ source.Keeper = (*Reader)(nil)

// Tidy implements source.Keeper: it makes few packs of many, and deletes the mirrors that are of none of the Refs, nor of a
// submodule of one.
func (r *Reader) Tidy(ctx context.Context, used []source.Ref, now time.Time) error {
	errs := []error{r.sweep(used, now)}
	folders, err := os.ReadDir(r.config.Dir)
	errs = append(errs, err)
	for _, folder := range folders {
		if ctx.Err() != nil {
			break
		}
		if strings.HasSuffix(folder.Name(), ".git") {
			r.mu.Lock()
			m := r.at(filepath.Join(r.config.Dir, folder.Name()))
			r.mu.Unlock()
			errs = append(errs, m.packs.tidy(now))
		}
	}
	return errors.Join(errs...)
}

// sweep deletes the mirrors that nobody needs.
func (r *Reader) sweep(used []source.Ref, now time.Time) error {
	folders, err := os.ReadDir(r.config.Dir)
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, ref := range used {
		needed[filepath.Base(mirrorDir(r.config.Dir, ref))] = true
	}
	for range maxDepth {
		for _, folder := range folders {
			parents, _ := os.ReadDir(filepath.Join(r.config.Dir, folder.Name(), parentsFolder)) // most have none
			for _, parent := range parents {
				if needed[parent.Name()] {
					needed[folder.Name()] = true
				}
			}
		}
	}
	var errs []error
	for _, folder := range folders {
		name := filepath.Join(r.config.Dir, folder.Name())
		switch {
		case strings.HasSuffix(name, gone): // of one that was cut off
			errs = append(errs, os.RemoveAll(name))
		case strings.HasSuffix(name, ".git") && !needed[folder.Name()]:
			errs = append(errs, r.forget(name, now))
		}
	}
	return errors.Join(errs...)
}

// forget deletes a mirror unless somebody used it lately.
func (r *Reader) forget(name string, now time.Time) error {
	is, err := r.letGo(name, now)
	if err != nil || !is {
		return err
	}
	return os.RemoveAll(name + gone)
}

// letGo takes a mirror away from those who ask for it, unless somebody used it lately.
func (r *Reader) letGo(name string, now time.Time) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(name)
	if err != nil || now.Sub(info.ModTime()) < source.UnusedStay {
		return false, err
	}
	if m := r.mirrors[name]; m != nil {
		select {
		case m.fetching <- struct{}{}:
			defer func() { <-m.fetching }()
		default:
			return false, nil // a fetch is under way
		}
	}
	delete(r.mirrors, name)
	return true, os.Rename(name, name+gone)
}

// belongs notes in the mirror of a submodule whose it is: it is kept as long as that one.
func (r *Reader) belongs(sub, parent source.Ref) error {
	folder := filepath.Join(mirrorDir(r.config.Dir, sub), parentsFolder)
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keeping a submodule: %w", err)
	}
	f, err := os.Create(filepath.Join(folder, filepath.Base(mirrorDir(r.config.Dir, parent))))
	if err != nil {
		return fmt.Errorf("keeping a submodule: %w", err)
	}
	return f.Close()
}
