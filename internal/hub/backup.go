package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/backup"
	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/version"
)

const (
	configFile         = "config.json"
	authenticationFile = "authentication.yaml"
)

// keyFiles are what an embedded API is known by: whoever has a client certificate of it, or a token, is known by the
// restored one.
var keyFiles = []string{"pki/ca.crt", "pki/ca.key", "pki/service-account.key"}

// Backup writes a backup of the hub whose API config reaches. home is its data folder: as far as it is on this machine, what
// is in it is in the backup.
func Backup(ctx context.Context, home string, config *rest.Config, host backup.Host, to io.Writer) (backup.Manifest, error) {
	source := backup.Hub{Config: config, Host: host, Files: map[string][]byte{}, Version: version.Version, Now: time.Now}
	names := []string{configFile}
	if host == backup.Own {
		names = append(names, keyFiles...)
	}
	for _, name := range names {
		if err := addFile(source.Files, name, filepath.Join(Dir(home), name)); err != nil {
			return backup.Manifest{}, err
		}
	}
	if state, err := ReadState(home); err == nil && state.Authentication != "" {
		if err := addFile(source.Files, authenticationFile, state.Authentication); err != nil {
			return backup.Manifest{}, err
		}
	}
	registry := filepath.Join(Dir(home), "registry")
	if _, err := os.Stat(registry); err == nil {
		source.Blob = func(repository, digest string) ([]byte, error) { return content.ReadBlob(registry, repository, digest) }
	}
	return backup.Take(ctx, source, to)
}

// addFile reads a file, if it is there.
func addFile(files map[string][]byte, name, path string) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading what the hub keeps: %w", err)
	}
	files[name] = raw
	return nil
}

// checkWhole refuses to run on half a hub: what a hub does not see it must not take for gone.
func (h *hub) checkWhole(ctx context.Context) error {
	err := h.api.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: backup.Guard}, &corev1.ConfigMap{})
	switch {
	case err == nil:
		return fmt.Errorf("a restore of this hub was begun and has not ended (configmap %s/%s): run the same `umbel restore` again",
			v1alpha1.SystemNamespace, backup.Guard)
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("looking for a restore that has not ended: %w", err)
	}
	return nil
}
