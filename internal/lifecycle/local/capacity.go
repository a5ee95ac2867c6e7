package local

import (
	"errors"
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

// watches is how many instances of inotify a node opens: containerd one, its kubelet six, kube-proxy one, and who runs them one.
const watches = 9

// WatchesError says that a node would not come up, for want of instances of inotify.
type WatchesError struct{}

func (*WatchesError) Error() string {
	return fmt.Sprintf("a node takes %d instances of inotify, and this computer has fewer left, so that its kubelet would not come up: `sysctl -w fs.inotify.max_user_instances=1024` has it allow more, "+
		"and a file in /etc/sysctl.d after a reboot too", watches)
}

// checkWatches says whether a node can have its instances of inotify.
func checkWatches() error {
	for range watches {
		instance, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if errors.Is(err, unix.EMFILE) {
			return &WatchesError{}
		}
		if err != nil {
			return fmt.Errorf("looking whether there are instances of inotify left: %w", err)
		}
		defer unix.Close(instance)
	}
	return nil
}
