package git

import (
	"fmt"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing/transport"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source"
)

// permit refuses a repository on the hub's own disk unless it is in one of the folders that this hub may read: who can
// make a Package is not thereby one who may read the hub's files. A path is followed to where it really leads.
func permit(ref source.Ref, folders []string) error {
	endpoint, err := transport.NewEndpoint(ref.URL)
	if err != nil || endpoint.Protocol != "file" {
		return err
	}
	path := real(endpoint.Path)
	for _, folder := range folders {
		if within, err := filepath.Rel(real(folder), path); err == nil && filepath.IsLocal(within) {
			return nil
		}
	}
	return &source.Error{Reason: v1alpha1.ReasonSourceNotAllowed, Err: fmt.Errorf(
		"spec.source.git.url: %s is on the hub's own disk, where this hub may not read: run it with "+
			"`umbel hub --allow-local-sources FOLDER`, or give an https:// address", source.Redact(ref.URL))}
}

// real follows symbolic links; a path that does not exist is taken by its name.
func real(path string) string {
	if found, err := filepath.EvalSymlinks(path); err == nil {
		return found
	}
	return filepath.Clean(path)
}
