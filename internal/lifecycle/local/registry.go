package local

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"umbel.dev/umbel/internal/lifecycle/local/machine"
)

// Registry is one that the containerd of every cluster is to trust.
type Registry struct {
	// Host is HOST:PORT, as image names begin with it.
	Host string
	// CAFile is the PEM file of the CA that signed its certificate.
	CAFile string
}

// TrustRegistry does what the method does, for who has nothing else to do with the clusters of a data folder.
func TrustRegistry(home string, registry Registry) error {
	home, err := futurePath(home)
	if err != nil {
		return fmt.Errorf("looking for the data folder: %w", err)
	}
	return (&Local{needs: Needs{Home: home}}).TrustRegistry(registry)
}

// TrustRegistry lets all clusters of the data folder pull from the registry, those that run too: containerd looks at
// its configuration of registries at each pull. It is idempotent.
func (l *Local) TrustRegistry(registry Registry) error {
	records, err := l.records()
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.Fleet == nil {
			continue
		}
		for _, place := range r.places(l.dir(r.Name)) {
			if err := Trust(place.dir, registry); err != nil {
				return fmt.Errorf("letting cluster %q pull from %s: %w", r.Name, registry.Host, err)
			}
		}
	}
	return nil
}

// Trust writes how the containerd of the machine in dir reaches the registry. The CA is copied: the machine may not
// see the file.
func Trust(dir string, registry Registry) error {
	ca, err := os.ReadFile(registry.CAFile)
	if err != nil {
		return fmt.Errorf("reading the CA of registry %s: %w", registry.Host, err)
	}
	inside := filepath.Join("/var", machine.RegistriesDir, registry.Host)
	outside := filepath.Join(dir, inside)
	if err := os.MkdirAll(outside, 0o755); err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(outside, "ca.crt"), ca, 0o644); err != nil {
		return err
	}
	hosts := fmt.Sprintf("server = %[1]q\n\n[host.%[1]q]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = %[2]q\n",
		"https://"+registry.Host, filepath.Join(inside, "ca.crt"))
	return renameio.WriteFile(filepath.Join(outside, "hosts.toml"), []byte(hosts), 0o644)
}
