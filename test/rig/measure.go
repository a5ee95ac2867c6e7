package rig

import (
	"fmt"
	"os"
	"strings"
)

// Memory is the resident memory of a process, in MiB.
type Memory struct{ Now, Peak float64 }

// MemoryOf reads the resident memory of a process, in MiB.
func MemoryOf(pid int) (m Memory, err error) {
	file := fmt.Sprintf("/proc/%d/status", pid)
	if m.Now, err = mebibytes(file, "VmRSS:"); err == nil {
		m.Peak, err = mebibytes(file, "VmHWM:")
	}
	return m, err
}

// ProportionOf is the proportional set size of a process, in MiB: its memory, of which what it shares counts in parts.
func ProportionOf(pid int) (mib float64, err error) {
	return mebibytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
}

// MemoryInUse is how much of the machine's memory is not to be had for anything else, in MiB.
func MemoryInUse() (mib float64, err error) {
	total, err := mebibytes("/proc/meminfo", "MemTotal:")
	if err != nil {
		return 0, err
	}
	available, err := mebibytes("/proc/meminfo", "MemAvailable:")
	return total - available, err
}

// mebibytes reads the line of a file of the kernel's that begins with a word, and returns it in MiB.
func mebibytes(file, word string) (mib float64, err error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		var kib float64
		if _, err := fmt.Sscanf(line, word+" %f kB", &kib); err == nil {
			return kib / 1024, nil
		}
	}
	return 0, fmt.Errorf("%s has no line %q", file, word)
}

// CPUOf is the processor time that a process has used, in seconds.
func CPUOf(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	var user, system float64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return 0, err
	}
	return (user + system) / 100, nil // the kernel counts in hundredths
}
