package join

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// grace is how long a plugin that is told to end has for it.
const grace = time.Second

// endPlugin ends the plugin that this process has started and that does not answer, and says whether it did: client-go waits for it, and
// would leave it behind. Where processes cannot be looked up (/proc), and for what a plugin has started itself, nothing is done.
func endPlugin(plugin string) (ended bool) {
	for _, pid := range childrenOf("self") {
		if !runs(pid, plugin) || syscall.Kill(pid, syscall.SIGTERM) != nil {
			continue
		}
		ended = true
		time.AfterFunc(grace, func() {
			if runs(pid, plugin) && slices.Contains(childrenOf("self"), pid) { // no other has its number while it is not waited for
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended just now
			}
		})
	}
	return ended
}

// childrenOf returns the processes that a process has started and that are there.
func childrenOf(process string) (pids []int) {
	tasks, _ := filepath.Glob("/proc/" + process + "/task/*/children") // its error is of the pattern
	for _, task := range tasks {
		raw, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(raw)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// runs says whether a process is a plugin, or what interprets that.
func runs(pid int, plugin string) bool {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return false
	}
	args := strings.Split(string(raw), "\x00")
	return slices.ContainsFunc(args[:min(2, len(args))], func(arg string) bool { return filepath.Base(arg) == filepath.Base(plugin) })
}
