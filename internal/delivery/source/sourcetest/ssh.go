package sourcetest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// SSH is a server of ssh that runs git-upload-pack, and nothing else, for who has its key.
type SSH struct {
	// Address of the server, as HOST:PORT.
	Address string
	// KnownHosts is its line of a file of that name.
	KnownHosts []byte
	// Key is a private key that it takes, as PEM.
	Key []byte

	listener net.Listener
	root     string
	config   *ssh.ServerConfig
	running  sync.WaitGroup
}

// NewKey makes a key pair: the private key as PEM, encrypted when there is a passphrase, and the public one.
func NewKey(t testing.TB, passphrase string) ([]byte, ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, "a test")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "a test", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block), signer
}

// ServeSSH serves the repository over ssh, for one key, which may have a passphrase.
func (r *Repository) ServeSSH(passphrase string) *SSH {
	r.t.Helper()
	_, host := NewKey(r.t, "")
	private, client := NewKey(r.t, passphrase)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	s := &SSH{Address: listener.Addr().String(), Key: private, listener: listener, root: filepath.Dir(r.Dir)}
	s.KnownHosts = []byte(knownhosts.Line([]string{s.Address}, host.PublicKey()) + "\n")
	s.config = &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(client.PublicKey().Marshal()) {
			return nil, errors.New("another key")
		}
		return nil, nil
	}}
	s.config.AddHostKey(host)
	s.running.Go(s.accept)
	r.t.Cleanup(s.Stop)
	return s
}

// URL of a repository.
func (s *SSH) URL(r *Repository) string {
	return "ssh://git@" + s.Address + "/" + filepath.Base(r.Dir) + "/.git"
}

// Stop ends the server. It may be called twice.
func (s *SSH) Stop() {
	s.listener.Close()
	s.running.Wait()
}

func (s *SSH) accept() {
	for {
		raw, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.running.Go(func() { s.serve(raw) })
	}
}

func (s *SSH) serve(raw net.Conn) {
	defer raw.Close()
	_, channels, requests, err := ssh.NewServerConn(raw, s.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, asks, err := offered.Accept()
		if err != nil {
			return
		}
		for ask := range asks {
			if ask.Type != "exec" {
				_ = ask.Reply(false, nil)
				continue
			}
			var command struct{ Line string }
			_ = ssh.Unmarshal(ask.Payload, &command)
			_ = ask.Reply(true, nil)
			status := s.run(command.Line, channel)
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
			channel.Close()
		}
	}
}

func (s *SSH) run(line string, channel ssh.Channel) uint32 {
	path, asks := strings.CutPrefix(line, "git-upload-pack '")
	path, ends := strings.CutSuffix(path, "'")
	if !asks || !ends {
		fmt.Fprintf(channel.Stderr(), "this is not done here: %s\n", line)
		return 128
	}
	cmd := exec.Command("git", "upload-pack", filepath.Join(s.root, filepath.Clean("/"+path)))
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil {
		return 128
	}
	go func() { // the program ends when it has said all, be the input at its end or not
		_, _ = io.Copy(in, channel)
		in.Close()
	}()
	if cmd.Run() != nil {
		return 128
	}
	return 0
}
