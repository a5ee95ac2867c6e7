package sourcetest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sync"
	"testing"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// SSH is OpenSSH's server, whose users are those of this machine, with git-upload-pack as the package git brings it.
type SSH struct {
	// Address of the server, as HOST:PORT.
	Address string
	// KnownHosts is its line of a file of that name.
	KnownHosts []byte
	// Key is a private key that it takes, as PEM.
	Key []byte

	t        testing.TB
	listener net.Listener
	dir      string // of its configuration and keys
	as       string // the user who logs in
	running  sync.WaitGroup

	mu   sync.Mutex
	said bytes.Buffer
}

// NewKey has ssh-keygen make a key pair, an ed25519 one unless its options say otherwise: the private key as PEM, encrypted when there is a
// passphrase, and the public one.
func NewKey(t testing.TB, passphrase string, options ...string) ([]byte, ssh.PublicKey) {
	t.Helper()
	if len(options) == 0 {
		options = []string{"-t", "ed25519"}
	}
	file := filepath.Join(t.TempDir(), "key")
	out, err := exec.CommandContext(t.Context(), "ssh-keygen", append(options, "-q", "-N", passphrase, "-C", "a test", "-f", file)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen %q: %v\n%s", options, err, out)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(read(t, file+".pub"))
	if err != nil {
		t.Fatal(err)
	}
	return read(t, file), public
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// ServeSSH serves the repository over ssh, for one key, which may have a passphrase, and is made with the options, if there are any. The
// server has keys of two kinds, of which the one that is known is not the one that it would rather show.
func (r *Repository) ServeSSH(passphrase string, options ...string) *SSH {
	r.t.Helper()
	program := "/usr/sbin/sshd" // it wants its whole name
	if _, err := os.Stat(program); err != nil {
		r.t.Fatalf("%v: scripts/install-deps.sh unit installs it", err)
	}
	as, err := user.Current()
	if err != nil {
		r.t.Fatal(err)
	}
	if as.Uid == "0" {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // where its half without rights is at home
			r.t.Fatal(err)
		}
	}
	private, client := NewKey(r.t, passphrase, options...)
	s := &SSH{Key: private, t: r.t, dir: r.t.TempDir(), as: as.Username}
	lines := "AuthorizedKeysFile " + s.write("authorized_keys", ssh.MarshalAuthorizedKey(client)) + "\n"
	var known ssh.PublicKey
	for _, kind := range []string{"ed25519", "ecdsa"} {
		var key []byte
		key, known = NewKey(r.t, "", "-t", kind)
		lines += "HostKey " + s.write("host_"+kind, key) + "\n"
	}
	lines += "StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\nLogLevel VERBOSE\n" +
		"SetEnv GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null\n"
	config := s.write("sshd_config", []byte(lines))
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		r.t.Fatal(err)
	}
	s.Address = s.listener.Addr().String()
	s.KnownHosts = []byte(knownhosts.Line([]string{s.Address}, known) + "\n")
	s.running.Go(func() { s.accept(program, config) })
	r.t.Cleanup(func() {
		s.Stop()
		if r.t.Failed() {
			r.t.Logf("sshd said:\n%s", s.said.String())
		}
	})
	return s
}

func (s *SSH) write(name string, content []byte) string {
	s.t.Helper()
	file := filepath.Join(s.dir, name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// URL of a repository.
func (s *SSH) URL(r *Repository) string {
	return fmt.Sprintf("ssh://%s@%s%s", s.as, s.Address, filepath.ToSlash(filepath.Join(r.Dir, ".git")))
}

// Stop ends the server. It may be called twice.
func (s *SSH) Stop() {
	s.listener.Close()
	s.running.Wait()
}

// accept gives every connection to a process of sshd, as inetd does: so its port is known, and nobody else can have it meanwhile.
func (s *SSH) accept(program, config string) {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		raw, err := conn.(*net.TCPConn).File()
		conn.Close()
		if err != nil {
			continue
		}
		cmd := exec.Command(program, "-i", "-e", "-f", config)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = raw, raw, s
		err = cmd.Start()
		raw.Close()
		if err != nil {
			fmt.Fprintln(s, err)
			continue
		}
		s.running.Go(func() { _ = cmd.Wait() }) // whoever it refuses is no failure of ours
	}
}

// Write keeps what sshd says.
func (s *SSH) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Write(p)
}
