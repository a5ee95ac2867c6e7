package client

import (
	"fmt"
	"os"
	"path/filepath"
)

// Programs returns the folder of umbel's own programs: the one that this program is in.
func Programs() (string, error) {
	executable, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("looking for umbel's other programs: %w", err)
	}
	if executable, err = filepath.EvalSymlinks(executable); err != nil {
		return "", fmt.Errorf("looking for umbel's other programs: %w", err)
	}
	return filepath.Dir(executable), nil
}
