package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hierarchy is a mounted cgroup hierarchy of the host.
type hierarchy struct {
	mount   string
	unified bool // version 2
	cpuset  bool // version 1, with the cpuset controller
}

// podControllers are what the kubelet needs of version 2.
var podControllers = []string{"cpu", "cpuset", "memory", "pids"}

// hierarchies lists the hierarchies of a /proc/self/mountinfo.
func hierarchies(mountinfo string) []hierarchy {
	var found []hierarchy
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields, filesystem := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(filesystem) < 3 {
			continue
		}
		options := strings.Split(filesystem[2], ",")
		switch filesystem[0] {
		case "cgroup2":
			found = append(found, hierarchy{mount: fields[4], unified: true})
		case "cgroup":
			found = append(found, hierarchy{mount: fields[4], cpuset: slices.Contains(options, "cpuset")})
		}
	}
	return found
}

func hostHierarchies() ([]hierarchy, error) {
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return hierarchies(string(mountinfo)), nil
}

// CreateCgroup makes the cgroup root, such as /umbel0-dev-0, in every hierarchy of the host. It reports whether a
// kubelet can make a cgroup per pod below it. It is idempotent.
func CreateCgroup(root string) (podCgroups bool, err error) {
	all, err := hostHierarchies()
	if err != nil {
		return false, err
	}
	legacy := slices.ContainsFunc(all, func(h hierarchy) bool { return !h.unified })
	for _, h := range all {
		if err := h.create(root); err != nil {
			return false, fmt.Errorf("making cgroup %s in %s: %w", root, h.mount, err)
		}
		h.delegate(filepath.Join(h.mount, root))
		if !legacy {
			podCgroups = h.has(root, podControllers)
		}
	}
	if legacy {
		podCgroups = slices.ContainsFunc(all, func(h hierarchy) bool { return h.cpuset })
	}
	return podCgroups, nil
}

// create makes root and hands it what its parents have, level by level.
func (h hierarchy) create(root string) error {
	parent := h.mount
	for name := range strings.SplitSeq(strings.Trim(root, "/"), "/") {
		dir := filepath.Join(parent, name)
		h.delegate(parent)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if h.cpuset {
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
				if err := inherit(parent, dir, file); err != nil {
					return err
				}
			}
		}
		parent = dir
	}
	return nil
}

// delegate gives the children of dir every controller that dir has. What the host keeps back is found missing later.
func (h hierarchy) delegate(dir string) {
	if !h.unified {
		return
	}
	for _, controller := range podControllers {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
	}
}

func (h hierarchy) has(root string, controllers []string) bool {
	content, err := os.ReadFile(filepath.Join(h.mount, root, "cgroup.controllers"))
	if err != nil {
		return false
	}
	there := strings.Fields(string(content))
	return !slices.ContainsFunc(controllers, func(c string) bool { return !slices.Contains(there, c) })
}

// inherit fills a file of version 1 that is born empty, and without which no process may enter.
func inherit(parent, dir, file string) error {
	own, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil || len(bytes.TrimSpace(own)) > 0 {
		return err
	}
	content, err := os.ReadFile(filepath.Join(parent, file))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, file), content, 0)
}

// JoinCgroup moves the calling process into a child of root in every hierarchy. A child, because in version 2 a
// cgroup has either processes or children with controllers.
func JoinCgroup(root string) error {
	all, err := hostHierarchies()
	if err != nil {
		return err
	}
	own := filepath.Join(root, "machine")
	for _, h := range all {
		if err := h.create(own); err != nil {
			return fmt.Errorf("making cgroup %s in %s: %w", own, h.mount, err)
		}
		if err := os.WriteFile(filepath.Join(h.mount, own, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("entering cgroup %s in %s: %w", own, h.mount, err)
		}
	}
	return nil
}

// RemoveCgroup removes root and all below it from every hierarchy, and kills what is in there: nobody supervises it any more, or nobody
// knows that, as when a machine's folder was removed while it ran. It waits until the last process has left.
func RemoveCgroup(ctx context.Context, root string) error {
	all, err := hostHierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		dir := filepath.Join(h.mount, root)
		if err := killAll(dir); err != nil { // a machine's init too, before what it would start anew
			return fmt.Errorf("removing cgroup %s: %w", dir, err)
		}
		if err := removeTree(ctx, dir); err != nil {
			return fmt.Errorf("removing cgroup %s: %w", dir, err)
		}
	}
	return nil
}

func removeTree(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		if err := removeTree(ctx, filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	// A process that was killed leaves its cgroup a moment later, and version 1 has no event for that.
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := killIn(dir); err != nil { // it came into being meanwhile
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}

// killAll kills the processes in a cgroup, and in all below it.
func killAll(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.IsDir() {
			return err
		}
		return killIn(path)
	})
}

// killIn kills the processes in a cgroup.
func killIn(dir string) error {
	file := filepath.Join(dir, "cgroup.procs")
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil // the cgroup has just gone
	}
	if err != nil {
		return err
	}
	for field := range strings.FieldsSeq(string(content)) {
		pid, err := strconv.Atoi(field)
		if err != nil || pid <= 1 { // 0 is one that cannot be seen from here
			continue
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("killing process %d, which %s lists: %w", pid, file, err)
		}
	}
	return nil
}
