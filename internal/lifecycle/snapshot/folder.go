package snapshot

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

// folder is one of this computer, for its owner alone: a snapshot has the Secrets of its cluster in it.
type folder string

func (f folder) put(_ context.Context, name string, content io.Reader, _ int64) error {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return err
	}
	if err := f.sweep(name); err != nil {
		return err
	}
	file, err := renameio.NewPendingFile(filepath.Join(string(f), name), renameio.WithPermissions(0o600), renameio.WithTempDir(string(f)))
	if err != nil {
		return err
	}
	defer file.Cleanup() // the error is that of what was before it
	if _, err := io.Copy(file, content); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}

// sweep removes what a writer left that was killed: it is as large as a snapshot.
func (f folder) sweep(name string) error {
	if !strings.HasSuffix(name, dataSuffix) {
		return nil
	}
	left, err := filepath.Glob(filepath.Join(string(f), ".*"+dataSuffix+"*"))
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return err
}

func (f folder) get(_ context.Context, name string) (io.ReadCloser, error) {
	return os.Open(filepath.Join(string(f), name))
}

func (f folder) names(context.Context) ([]string, error) {
	entries, err := os.ReadDir(string(f))
	if os.IsNotExist(err) {
		return nil, f.reachable()
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// reachable is nil when the folder is not there because nothing was put there yet.
func (f folder) reachable() error {
	above := filepath.Dir(filepath.Dir(string(f))) // of the namespace and the cluster
	info, err := os.Lstat(above)
	if os.IsNotExist(err) || err == nil && info.Mode()&os.ModeSymlink == 0 {
		return nil
	}
	_, err = os.Stat(above) // a link to what is not mounted
	return err
}

func (f folder) remove(_ context.Context, name string) error {
	return os.Remove(filepath.Join(string(f), name))
}
