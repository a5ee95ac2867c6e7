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
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(raw)) {
		var kib float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kib); err == nil {
			m.Now = kib / 1024
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kib); err == nil {
			m.Peak = kib / 1024
		}
	}
	return m, nil
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
