package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"umbel.dev/umbel/internal/kube/controlplane"
)

// MachinesDir is in the folder of a cluster: all of its machines but the main one, a folder each.
const MachinesDir = "machines"

// renew issues anew what is due of a node's certificates, and returns when the first of all ends.
func (s Spec) renew(now time.Time) (until time.Time, err error) {
	plane, err := s.ControlPlane()
	if err != nil {
		return until, err
	}
	ca, err := plane.CA()
	if err != nil {
		return until, err
	}
	ca.Now = func() time.Time { return now }
	for _, c := range s.certificates() {
		ends, err := controlplane.Renewed(ca, c, now)
		if err != nil {
			return until, err
		}
		until = controlplane.Earliest(until, ends)
	}
	for file := range s.clients() {
		until = controlplane.Within(s.kube(file), until)
	}
	return until, nil
}

// RenewIn issues anew what is due of the certificates of the node in dir, while it runs, and returns when the first of all ends; zero for one
// that does not run, which has others when it starts.
func RenewIn(dir string, now time.Time) (until time.Time, err error) {
	runs, err := runs(dir)
	if err != nil || !runs {
		return until, err
	}
	spec, err := Load(dir)
	if err != nil {
		return until, err
	}
	return spec.renew(now)
}

// alone says whether the machine has the control plane of a cluster that nobody keeps: it renews its own certificates. Those of a
// cluster that somebody does (package hosted), he renews, and says so.
func (s Spec) alone() bool { return s.Main == nil && s.Member == nil }

// renewCluster does so for all that a cluster has, whose main machine this is.
func (s Spec) renewCluster(now time.Time) error {
	plane, err := s.ControlPlane()
	if err != nil {
		return err
	}
	_, err = plane.Renew(now)
	problems := []error{err}
	if s.kubelet() {
		_, err := s.renew(now)
		problems = append(problems, err)
	}
	further, err := os.ReadDir(filepath.Join(s.Dir, MachinesDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		problems = append(problems, err)
	}
	for _, m := range further {
		if _, err := RenewIn(filepath.Join(s.Dir, MachinesDir, m.Name()), now); err != nil {
			problems = append(problems, fmt.Errorf("of machine %s: %w", m.Name(), err))
		}
	}
	return errors.Join(problems...)
}
