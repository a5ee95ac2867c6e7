package network

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
)

// Within runs f on a thread that is in the network namespace mounted at path, so that a process that f starts is in it.
func Within(path string, f func() error) error {
	return onThread(func() error {
		handle, err := netns.GetFromPath(path)
		if err != nil {
			return fmt.Errorf("opening network namespace %s: %w", path, err)
		}
		defer handle.Close()
		if err := netns.Set(handle); err != nil {
			return fmt.Errorf("entering network namespace %s: %w", path, err)
		}
		return f()
	})
}

// newNamespace makes a named network namespace, without moving the caller into it.
func newNamespace(name string) (netns.NsHandle, error) {
	handle := netns.None()
	err := onThread(func() (err error) {
		handle, err = netns.NewNamed(name)
		return err
	})
	return handle, err
}

// onThread runs f, which may change its thread's network namespace, on a thread of its own. The thread is given back
// in the namespace that it had; where that fails it stays locked, and ends with the goroutine.
func onThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		before, err := netns.Get()
		if err != nil {
			result <- err
			return
		}
		defer before.Close()
		err = f()
		if netns.Set(before) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}
