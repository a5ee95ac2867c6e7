package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
)

// dnsImage is the image of the cluster's DNS. It is imported, never pulled.
const dnsImage = "registry.umbel.dev/coredns:v1"

// balancerImage is that of both programs of MetalLB.
const balancerImage = "registry.umbel.dev/metallb:v1"

// image is one that every node of a cluster has from the start.
type image struct {
	ref      string
	binaries []string
}

func (l *Local) images(r record) []image {
	all := []image{
		{ref: machine.PauseImage, binaries: []string{l.needs.Binaries.Pause}}, // first: no pod starts without it
		{ref: dnsImage, binaries: []string{l.needs.Binaries.CoreDNS}},
	}
	if r.balancer().IsValid() {
		programs := l.needs.Binaries.Balancer
		all = append(all, image{ref: balancerImage, binaries: []string{programs.Controller, programs.Speaker}})
	}
	return all
}

// importImages puts the images into the containerd of the machine, those that it does not have from an earlier time:
// the first at once, the others when the API serves. Unpacking them would take the processor from its start.
func (m *raising) importImages(ctx context.Context, serves <-chan struct{}) error {
	for n, i := range m.local.images(m.place.cluster) {
		if n > 0 {
			<-serves
		}
		tarball, err := m.local.tarball(i)
		if err != nil {
			return err
		}
		mark := filepath.Join(m.place.dir, "var/lib/umbel-images", filepath.Base(tarball))
		if _, err := os.Stat(mark); err == nil {
			continue
		}
		if err := m.importImage(ctx, tarball); err != nil {
			return fmt.Errorf("importing %s: %w", i.ref, err)
		}
		if err := os.MkdirAll(filepath.Dir(mark), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(mark, nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// importImage has `ctr` send the tarball to the machine's containerd, whose socket the host sees below /proc.
func (m *raising) importImage(ctx context.Context, tarball string) error {
	pid, err := machine.PID(m.place.dir)
	if err != nil {
		return err
	}
	socket := fmt.Sprintf("/proc/%d/root/run/containerd/containerd.sock", pid)
	if err := waitForFile(ctx, socket); err != nil {
		return fmt.Errorf("%w; see %s", err, filepath.Join(m.place.dir, "logs", "containerd.log"))
	}
	ctr := exec.CommandContext(ctx, filepath.Join(findIn(searchDirs, "ctr"), "ctr"),
		"--address", socket, "--namespace", "k8s.io", "images", "import", tarball)
	if output, err := ctr.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(output)))
	}
	return nil
}

// tarball returns the file of an image, which all clusters of the data folder share, and makes it where it is missing.
func (l *Local) tarball(i image) (string, error) {
	name := ""
	for _, binary := range i.binaries {
		info, err := os.Stat(binary)
		if err != nil {
			return "", err
		}
		name += fmt.Sprintf("%s-%d-%d.", filepath.Base(binary), info.Size(), info.ModTime().UnixNano())
	}
	file := filepath.Join(l.imagesDir(), name+"tar")
	if err := os.MkdirAll(l.imagesDir(), 0o755); err != nil {
		return "", err
	}
	// Clusters that are made side by side wait for the first, rather than all compress the same.
	unlock, err := lock(l.imagesDir(), unix.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	return file, content.ImageTarball(file, i.ref, i.binaries...)
}

// waitForFile returns when there is a file at path. The file system of another mount namespace cannot be watched.
func waitForFile(ctx context.Context, path string) error {
	ticker := time.NewTicker(apiPoll)
	defer ticker.Stop()
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", path, ctx.Err())
		case <-ticker.C:
		}
	}
}
