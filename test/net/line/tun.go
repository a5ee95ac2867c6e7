package line

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// open makes a TUN device in the network namespace of this process. It goes when the file is closed.
func open(name string) (*os.File, error) {
	const path = "/dev/net/tun"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w; lines for tests need it, and CAP_NET_ADMIN, which root has", path, err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("device %q: %w", name, err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("making device %q: %w; it takes CAP_NET_ADMIN, which root has", name, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}
