package render

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Confinable says why the processes that render cannot be confined on this machine; nil when they can. Those that cannot reach no
// more for it, since nothing in them looks anywhere; the system does not see to it then.
func Confinable() error {
	if architecture() == 0 {
		return fmt.Errorf("no list of what a process may ask the system for is known for %s", runtime.GOARCH)
	}
	action := uint32(unix.SECCOMP_RET_ERRNO)
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action))); errno != 0 {
		return fmt.Errorf("the system has no filters of what a process may ask it for (seccomp): %w", errno)
	}
	return nil
}

// confine takes from this process what rendering needs nothing of, for good: it can open no file and no socket, start no program, reach no
// other process, and have no more memory than so many bytes beside what it has. What it has open it can read and write.
// Where the system lacks memory this process goes before any other.
func confine(memory int64) error {
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) // where there is no /proc, another goes first
	if err := limitData(memory); err != nil {
		return fmt.Errorf("limiting the memory of this process: %w", err)
	}
	if Confinable() != nil {
		return nil
	}
	if err := filterCalls(); err != nil {
		return fmt.Errorf("limiting what this process may ask the system for: %w", err)
	}
	return nil
}

// limitData has the system refuse memory beyond so many bytes, and what there is.
func limitData(more int64) error {
	status, err := os.ReadFile("/proc/self/status")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, rest, _ := bytes.Cut(status, []byte("\nVmData:"))
	line, _, _ := bytes.Cut(rest, []byte(" kB"))
	has, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	if err != nil {
		return fmt.Errorf("reading VmData of /proc/self/status: %w", err)
	}
	limit := uint64(has<<10 + more)
	return unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: limit, Max: limit})
}

// calls are what a program in Go asks the system for while it computes: memory, time, chance, threads, and what it has open.
var calls = []uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_CLOSE, unix.SYS_FCNTL, unix.SYS_FSTAT, unix.SYS_LSEEK,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_PPOLL,
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_MPROTECT, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK,
	unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETRUSAGE, unix.SYS_GETRANDOM,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
	unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
}

// Of one architecture alone.
var callsOf = map[string][]uint32{
	"amd64": {158, 232}, // arch_prctl, epoll_wait
}

func architecture() uint32 {
	return map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
}

// Where struct seccomp_data has what is looked at: the number of the call, the architecture, and the low half of the first argument.
const callAt, architectureAt, firstAt = 0, 4, 16

// filter is the program that says of each call whether it is let through: those above, threads of this process, and signals to
// them. All others are not permitted; a newer way to make a thread is not there, whereupon the older one is used.
func filter(self int) []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	ret := func(what uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what} }
	unless := func(value uint32, skip uint8) unix.SockFilter { // what follows is skipped unless it is that
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	allow, refuse := ret(unix.SECCOMP_RET_ALLOW), ret(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM))
	missing := ret(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
	program := []unix.SockFilter{
		load(architectureAt), {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: architecture(), Jt: 1}, refuse,
		load(callAt),
	}
	for _, call := range append(callsOf[runtime.GOARCH], calls...) {
		program = append(program, unless(call, 1), allow)
	}
	return append(program,
		unless(unix.SYS_CLONE3, 1), missing,
		unless(unix.SYS_CLONE, 4), load(firstAt), unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.CLONE_THREAD, Jf: 1}, allow, refuse,
		unless(unix.SYS_TGKILL, 3), load(firstAt), unless(uint32(self), 1), allow,
		refuse,
	)
}

// filterCalls has the system look at every call of every thread by the filter.
func filterCalls() error {
	program := filter(os.Getpid())
	at := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&at)))
	runtime.KeepAlive(program)
	switch {
	case errno != 0:
		return errno
	case thread != 0:
		return fmt.Errorf("thread %d takes no filter", thread)
	}
	return nil
}
