package machine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"umbel.dev/umbel/internal/lifecycle/local/network"
)

// started is what init writes to its parent when the machine stands; anything else is why it does not.
const started = "started\n"

// Launch starts the machine in dir, detached from the caller, and returns when its init has made it a place of its own
// and begins to start processes. namespace is the path of its network namespace, empty for a machine without a node.
func Launch(spec Spec, namespace string) error {
	logs := filepath.Join(spec.Dir, logsDir)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	output, err := os.OpenFile(filepath.Join(logs, "machine.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()
	report, reportEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	defer report.Close()

	cmd := exec.Command(spec.Umbel, "local", "machine-init", "--dir", spec.Dir)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + searchPath, "HOME=/root", "LANG=C.UTF-8"}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.ExtraFiles = []*os.File{reportEnd} // its file descriptor 3
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if namespace != "" {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC
	}
	err = startIn(cmd, namespace)
	reportEnd.Close()
	if err != nil {
		return fmt.Errorf("starting the machine of cluster %q: %w", spec.Cluster, err)
	}
	go cmd.Wait() // it outlives us; while we live, somebody must collect it when it ends

	answer, err := io.ReadAll(report)
	if err != nil {
		return fmt.Errorf("starting the machine of cluster %q: %w", spec.Cluster, err)
	}
	if string(answer) != started {
		reason := strings.TrimSpace(string(answer))
		if reason == "" {
			reason = "it ended at once; see " + output.Name()
		}
		return fmt.Errorf("starting the machine of cluster %q: %s", spec.Cluster, reason)
	}
	return nil
}

// startIn starts cmd in the network namespace that is mounted at path, or in ours where path is empty.
func startIn(cmd *exec.Cmd, path string) error {
	if path == "" {
		return cmd.Start()
	}
	return network.Within(path, cmd.Start)
}

// answer tells the parent, once, how the start went.
func answer(err error) error {
	report := os.NewFile(3, "report")
	if report == nil {
		return errors.New("no parent to report to: this command is for `umbel local create` to call")
	}
	text := started
	if err != nil {
		text = err.Error()
	}
	_, writeErr := report.WriteString(text)
	return errors.Join(err, writeErr, report.Close())
}
