package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"umbel.dev/umbel/internal/identity"
)

// revisionBump is how far the revisions of a restored etcd are ahead of those in the snapshot, and all before are compacted. Who
// watches by a revision that came after the snapshot would hear nothing otherwise, until that number is reached again; so it is told
// that its revision is gone, and lists anew. It is as much as etcd's own documentation takes for a week of a busy cluster.
const revisionBump = "1000000000"

// RestoreAside writes what a snapshot holds into a folder, as the data of a control plane that has this one member and no other. The
// folder is there whole or not at all. The etcd that runs, if one does, is not touched: Restored has it begin with that.
func (c *ControlPlane) RestoreAside(ctx context.Context, snapshot string) error {
	part := c.path(restoredDir) + ".part"
	for _, dir := range []string{part, c.path(restoredDir)} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.config.Dir, 0o700); err != nil {
		return err
	}
	token, err := identity.NewToken() // peers of another etcd with the same names are refused by it
	if err != nil {
		return err
	}
	name := c.config.Name
	if c.config.Member != nil {
		name = c.config.Member.Name
	}
	cmd := exec.CommandContext(ctx, c.config.Binary, "etcdutl", "snapshot", "restore", snapshot, "--data-dir="+part, "--name="+name,
		"--initial-cluster="+name+"="+c.PeerURL(), "--initial-advertise-peer-urls="+c.PeerURL(), "--initial-cluster-token="+token,
		"--bump-revision="+revisionBump, "--mark-compacted")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("restoring a snapshot: %w: %s", err, problemIn(out)), os.RemoveAll(part))
	}
	return os.Rename(part, c.path(restoredDir))
}

const (
	dataDir = "etcd"
	// restoredDir is what is to take the place of dataDir, and beforeDir what it held before.
	restoredDir, beforeDir = "etcd.restored", "etcd.before"
)

// Restored puts what RestoreAside made in the place of the data of this member, which must not run. What was there is kept beside it
// until the next time. It is idempotent: cut off anywhere, it goes on.
func (c *ControlPlane) Restored() error {
	if there, err := exists(c.path(restoredDir)); err != nil || !there {
		return err // it has been put in place
	}
	there, err := exists(c.path(dataDir))
	if err != nil {
		return err
	}
	if there {
		if err := os.RemoveAll(c.path(beforeDir)); err != nil {
			return err
		}
		if err := os.Rename(c.path(dataDir), c.path(beforeDir)); err != nil {
			return err
		}
	}
	for _, name := range []string{beginFile, startsFile} { // they tell of what was there
		if err := os.Remove(c.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Rename(c.path(restoredDir), c.path(dataDir))
}

// problemIn returns what a program said last that is an error.
func problemIn(out []byte) string {
	said := ""
	for line := range bytes.Lines(out) {
		if text := strings.TrimSpace(string(line)); text != "" && (said == "" || strings.HasPrefix(text, "Error")) {
			said = text
		}
	}
	return said
}
