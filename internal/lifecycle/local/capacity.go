package local

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Capacity is what a machine holds: processors, and bytes of memory.
type Capacity struct {
	CPUs   int
	Memory int64
}

// kept is the memory that a kubelet keeps free (evictionHard of its configuration).
const kept = 100 << 20

// MachineCapacity returns what every machine of this computer can give to pods: each sees all of the computer, and none has a part for itself.
func MachineCapacity() (Capacity, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return Capacity{}, fmt.Errorf("asking the kernel how much memory there is: %w", err)
	}
	return Capacity{CPUs: runtime.NumCPU(), Memory: int64(info.Totalram)*int64(info.Unit) - kept}, nil
}
