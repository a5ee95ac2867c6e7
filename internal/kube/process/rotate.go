package process

import (
	"fmt"
	"io"
	"os"
	"time"
)

const (
	maxLogSize     = 10 << 20
	rotateInterval = 10 * time.Second
)

// rotate moves the content of the log at path to path.1 when it is larger than limit. It copies and truncates, as the
// process that writes has the file open; what is written between the two is lost. Writers append, so they go on at
// the new end.
func rotate(path string, limit int64) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() <= limit {
		return err
	}
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(path + ".1")
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return fmt.Errorf("copying %s: %w", path, err)
	}
	if err := to.Close(); err != nil {
		return err
	}
	return os.Truncate(path, 0)
}
