package kubetest

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dirPattern = "umbel-kubetest-*"
	// dirYouth is how long a folder is left alone that nobody has locked: it may have been made just now.
	dirYouth = time.Minute
)

// makeDir makes a folder for the data of an API, locked until unlock is called or this process ends. It removes the
// folders that test processes left behind that were killed.
func makeDir() (dir string, unlock func(), err error) {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), dirPattern))
	if err != nil {
		return "", nil, err
	}
	for _, dir := range left {
		sweep(dir)
	}
	if dir, err = os.MkdirTemp("", dirPattern); err != nil {
		return "", nil, err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
		return "", nil, err
	}
	return dir, sync.OnceFunc(func() { folder.Close() }), nil
}

// sweep removes dir if no process works in it. What cannot be removed is somebody else's.
func sweep(dir string) {
	folder, err := os.Open(dir)
	if err != nil {
		return
	}
	defer folder.Close()
	info, err := folder.Stat()
	if err != nil || time.Since(info.ModTime()) < dirYouth {
		return
	}
	if unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = os.RemoveAll(dir)
	}
}
