package render

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// escapes are what a process tries that is confined, each with what it gets.
func escapes() {
	for _, try := range []struct {
		what string
		do   func() error
	}{
		{"open a file", func() error { _, err := os.ReadFile(os.Args[0]); return err }},
		{"write a file", func() error { return os.WriteFile(os.Getenv("UMBEL_TEST_OUTSIDE"), []byte("x"), 0o600) }},
		{"list a folder", func() error { _, err := os.ReadDir("/"); return err }},
		{"look whether a file is there", func() error { _, err := os.Stat("/etc/passwd"); return err }},
		{"dial", func() error { _, err := net.Dial("tcp", os.Getenv("UMBEL_TEST_ADDRESS")); return err }},
		{"ask for a page", func() error { _, err := http.Get("http://" + os.Getenv("UMBEL_TEST_ADDRESS")); return err }},
		{"send a datagram", func() error { _, err := net.Dial("udp", os.Getenv("UMBEL_TEST_ADDRESS")); return err }},
		{"listen", func() error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err }},
		{"speak to the system's log", func() error { _, err := net.Dial("unix", "/dev/log"); return err }},
		{"start a program", func() error { return exec.Command(os.Args[0]).Run() }},
		{"end another process", func() error { return syscall.Kill(os.Getppid(), syscall.SIGUSR1) }},
		{"have more memory again", func() error {
			return unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
		}},
		{"become another user", func() error { return errnoOf(unix.SYS_SETUID, 1) }},
		{"make a network of its own", func() error { return unix.Unshare(unix.CLONE_NEWUSER | unix.CLONE_NEWNET) }},
		{"make another process", func() error { return errnoOf(unix.SYS_CLONE, uintptr(syscall.SIGCHLD)) }},
		{"make rings", func() error { return errnoOf(unix.SYS_IO_URING_SETUP, 1) }},
	} {
		fmt.Printf("%s: %v\n", try.what, errors.Is(try.do(), unix.EPERM))
	}
	done := make(chan int)
	for i := range 50 { // computing goes on, in new threads too
		go func() { time.Sleep(time.Millisecond); done <- len(make([]byte, 1<<20)) + i }()
	}
	for range 50 {
		<-done
	}
	fmt.Println("end")
}

func errnoOf(call, first uintptr) error {
	if _, _, errno := syscall.RawSyscall6(call, first, 0, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// TestNothingIsInReachOfWhoRenders: even if something in a rendering tried to.
func TestNothingIsInReachOfWhoRenders(t *testing.T) {
	if err := Confinable(); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	outside := t.TempDir() + "/outside"
	command := exec.Command(os.Args[0])
	command.Env = []string{"UMBEL_TEST_WORKER=escapes", "UMBEL_TEST_ADDRESS=" + listener.Addr().String(), "UMBEL_TEST_OUTSIDE=" + outside}
	out, err := command.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "\nend\n") || strings.Contains(string(out), "false") || strings.Count(string(out), ": true\n") != 16 {
		t.Errorf("%v, it may:\n%s", err, out)
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("a file was written")
	}
}

// TestTheSystemRefusesMemory: one step that takes all memory at once ends its process, and says why.
func TestTheSystemRefusesMemory(t *testing.T) {
	command := exec.Command(os.Args[0])
	command.Env = []string{"UMBEL_TEST_WORKER=greed"}
	out, err := command.CombinedOutput()
	refused := bytes.Contains(out, []byte("out of memory")) || bytes.Contains(out, []byte("failed to allocate")) // says the race detector
	if err == nil || !refused || bytes.Contains(out, []byte("has it")) {
		t.Errorf("%v: %s", err, out)
	}
	used := command.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	if used > 1<<20 {
		t.Errorf("it had %d MiB", used>>10)
	}
}

// greed takes 10 GB at once.
func greed() {
	all := make([]byte, 10<<30)
	for i := 0; i < len(all); i += 4096 {
		all[i] = 1
	}
	fmt.Println("has it")
}

// TestWhoRendersForNobodyEnds: when a hub is killed, those who render for it end with it, whatever they are at.
func TestWhoRendersForNobodyEnds(t *testing.T) {
	command := exec.Command(os.Args[0])
	command.Env = []string{"UMBEL_TEST_WORKER=1"}
	at, err := startWorker(command)
	if err != nil {
		t.Fatal(err)
	}
	forever := map[string]string{"templates/a.yaml": `{{ range until 100000 }}{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}{{ end }}`}
	o := options()
	if err := at.send.Encode(job{Folder: ".", Chart: &o, Limits: Limits{Time: time.Hour, Memory: testLimits.Memory, Output: testLimits.Output}}); err != nil {
		t.Fatal(err)
	}
	files := chartFiles(forever)
	for read := map[string]bool{}; !read["templates/a.yaml"] || !read["values.yaml"] || !read["Chart.yaml"]; {
		var message said
		if err := at.receive.Decode(&message); err != nil || message.Look == nil {
			t.Fatalf("it says %+v, %v", message, err)
		}
		if err := at.send.Encode(answerTo(files, *message.Look)); err != nil {
			t.Fatal(err)
		}
		read[message.Look.Name] = read[message.Look.Name] || message.Look.What == lookFile
	}
	at.in.Close()
	if err := command.Wait(); err == nil || command.ProcessState.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
}
