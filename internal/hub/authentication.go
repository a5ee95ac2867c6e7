package hub

import (
	"path/filepath"

	"umbel.dev/umbel/internal/identity/signin"
)

// Authentication returns what a start is told about an AuthenticationConfiguration: its path, made absolute, once the
// file is found to be right. An empty path means that nobody signs in any more.
func Authentication(path string) (*string, error) {
	if path == "" {
		return &path, nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return &path, signin.Check(path)
}
