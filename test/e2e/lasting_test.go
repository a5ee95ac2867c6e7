//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"umbel.dev/umbel/test/rig"
)

// lasting is what somebody leaves running through the hub while everything else goes on: a watch, logs -f and an exec.
type lasting struct {
	began             time.Time
	watch, logs, exec *talk
}

// talk is a command that goes on. What it says is kept.
type talk struct {
	name string
	in   io.WriteCloser

	mu   sync.Mutex
	said bytes.Buffer
	over error // once it has ended
}

// Write implements io.Writer for what the command says.
func (k *talk) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.said.Write(p)
}

// talks starts kubectl on a cluster, through the hub.
func (s *story) talks(cluster string, args ...string) *talk {
	s.Helper()
	cmd := exec.CommandContext(s.ctx, rig.Binary("umbel"), append([]string{"kubectl", cluster, "--"}, args...)...)
	cmd.Env = append(os.Environ(), "UMBEL_HOME="+s.Home)
	return s.begins(strings.Join(args, " "), cmd)
}

// begins starts a command that is to go on.
func (s *story) begins(name string, cmd *exec.Cmd) *talk {
	s.Helper()
	k := &talk{name: name}
	cmd.Stdout, cmd.Stderr = k, k
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.Fatal(err)
	}
	k.in = in
	go func() {
		over := fmt.Errorf("it ended: %w", orEnd(cmd.Wait()))
		k.mu.Lock()
		defer k.mu.Unlock()
		k.over = over
	}()
	return k
}

func orEnd(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// says waits until the command, which has to go on, has said a word.
func (s *story) says(k *talk, word string) {
	s.Helper()
	s.eventually(fmt.Sprintf("%s says %q", k.name, word), func(context.Context) error {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.over != nil {
			s.Fatalf("%s: %v; it said:\n%s", k.name, k.over, k.said.String())
		}
		if !strings.Contains(k.said.String(), word) {
			return fmt.Errorf("it said:\n%s", k.said.String())
		}
		return nil
	})
}

// breaksOff waits until the command has ended, which has to be with an error.
func (s *story) breaksOff(k *talk) {
	s.Helper()
	s.eventually(k.name+" ends", func(context.Context) error {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.over == nil {
			return fmt.Errorf("it goes on; it said:\n%s", k.said.String())
		}
		if errors.Is(k.over, io.EOF) {
			s.Errorf("%s was cut off and ended as if it were complete; it said:\n%s", k.name, k.said.String())
		}
		return nil
	})
}

// startLasting leaves a watch, logs -f and an exec running on prod-eu.
func startLasting(s *story) *lasting {
	s.umbel("kubectl", "prod-eu", "--", "create", "namespace", "lasting")
	s.eventually("the pod can be made", func(ctx context.Context) error { // its namespace's account may take a moment
		_, err := s.Shell(ctx, "umbel kubectl prod-eu -- apply -f - <<'END'\n"+strings.ReplaceAll(shellPod(), "namespace: people", "namespace: lasting")+"\nEND")
		return err
	})
	s.umbel("kubectl", "prod-eu", "--", "-n", "lasting", "wait", "--for=condition=Ready", "pod/shell", "--timeout=180s")
	l := &lasting{began: time.Now()}
	l.watch = s.talks("prod-eu", "-n", "lasting", "get", "configmap", "words", "-w", "-o", `jsonpath={.data.w}{"\n"}`)
	l.logs = s.talks("prod-eu", "-n", "lasting", "logs", "-f", "shell", "-c", "bash")
	l.exec = s.talks("prod-eu", "-n", "lasting", "exec", "-i", "shell", "-c", "bash", "--",
		"bash", "-c", `echo ready; while read -r line; do echo "exec $line"; echo "log $line" > /proc/1/fd/1; done`)
	s.says(l.watch, "one")
	s.says(l.logs, "begun")
	s.says(l.exec, "ready")
	return l
}

// goesOn: after a while in which nothing was said, all three go on, and nothing was missed.
func (l *lasting) goesOn(s *story) {
	quiet := time.Since(l.began).Round(time.Second)
	s.shell(`umbel kubectl prod-eu -- -n lasting patch configmap words --type=merge -p '{"data":{"w":"two"}}'`)
	if _, err := fmt.Fprintln(l.exec.in, "goes on"); err != nil {
		s.Fatal(err)
	}
	s.says(l.watch, "two")
	s.says(l.exec, "exec goes on")
	s.says(l.logs, "log goes on")
	s.Logf("a watch, logs -f and an exec went on after %s without a word", quiet)
	_ = l.exec.in.Close() // the end of its input is the end of the exec
	s.umbel("kubectl", "prod-eu", "--", "delete", "namespace", "lasting", "--wait=false")
}
