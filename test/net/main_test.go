//go:build e2e

package net

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/test/net/line"
)

// roleEnv says what a process of this binary is: nothing for the one that `go test` starts.
const roleEnv = "UMBEL_NET_ROLE"

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	switch role := os.Getenv(roleEnv); role {
	case "":
		os.Exit(inside())
	case "tests":
		if err := line.Up(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(kubetest.Main(m))
	case "hub":
		os.Exit(serve(newHub))
	case "agent":
		os.Exit(serve(newAgent))
	case "rogue":
		os.Exit(serve(newRogue))
	default:
		fmt.Fprintf(os.Stderr, "%s=%s is no role\n", roleEnv, role)
		os.Exit(1)
	}
}

// inside runs the tests in a network namespace of their own.
func inside() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), roleEnv+"=tests")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState == nil {
			fmt.Fprintf(os.Stderr, "making a network namespace for the tests: %v; they need root on Linux\n", err)
		}
		return 1
	}
	return 0
}
