package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"umbel.dev/umbel/internal/delivery/source"
)

// overSSH is a conversation with git-upload-pack at the other end of a connection of ssh. go-git's own looks at the
// configuration, the agent and the known hosts of whoever runs it, and cannot be stopped while it shakes hands.
type overSSH struct {
	client  *ssh.Client
	session *ssh.Session
	in      io.WriteCloser
	out     io.Reader
	said    complaint
	close   func()
}

// dialSSH connects, and ends the connection with ctx.
func dialSSH(ctx context.Context, ref source.Ref, endpoint *transport.Endpoint, with source.Credentials, allowance *source.Allowance) (*overSSH, error) {
	at := address(endpoint, 22)
	config, err := configSSH(ref, endpoint, with, at)
	if err != nil {
		return nil, err
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	s := &overSSH{close: func() { stop(); raw.Close() }}
	conn, channels, requests, err := ssh.NewClientConn(&countedConn{raw, allowance}, at, config)
	if err != nil {
		s.close()
		return nil, explainSSH(ref, at, err)
	}
	s.client = ssh.NewClient(conn, channels, requests)
	if err := s.run(endpoint.Path); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// countedConn is a connection over which so much comes and no more.
type countedConn struct {
	net.Conn
	allowance *source.Allowance
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.allowance.Spend(n, err)
}

// configSSH says who we are, and by which keys the server is known.
func configSSH(ref source.Ref, endpoint *transport.Endpoint, with source.Credentials, at string) (*ssh.ClientConfig, error) {
	if ref.Secret == "" {
		return nil, source.NoSecret("%s: ssh needs credentials: spec.source.git.secretRef has to name a Secret with ssh-privatekey and known_hosts", source.Redact(ref.URL))
	}
	if len(with.KnownHosts) == 0 {
		return nil, source.NoSecret("secret %s has no known_hosts: without it the server could be anybody; `ssh-keyscan %s` prints its keys, to be compared with what the server's owner says", ref.Secret, endpoint.Host)
	}
	known, err := knownHosts(with.KnownHosts)
	if err != nil {
		return nil, source.NoSecret("secret %s: known_hosts cannot be read: %w", ref.Secret, err)
	}
	if len(known.HostKeys(at)) == 0 {
		return nil, source.NoSecret("secret %s: known_hosts has no key of %s", ref.Secret, at)
	}
	config := &ssh.ClientConfig{
		User: endpoint.User, HostKeyCallback: known.HostKeyCallback(), HostKeyAlgorithms: known.HostKeyAlgorithms(at),
	}
	if config.User == "" {
		config.User = "git"
	}
	if len(with.Key) > 0 {
		signer, err := signer(with)
		if err != nil {
			return nil, source.NoSecret("secret %s: ssh-privatekey cannot be read: is it a private key in PEM, and the passphrase the right one?", ref.Secret)
		}
		config.Auth = append(config.Auth, ssh.PublicKeys(signer))
	}
	if with.Password != "" {
		config.Auth = append(config.Auth, ssh.Password(with.Password))
	}
	return config, nil
}

func signer(with source.Credentials) (ssh.Signer, error) {
	passphrase := with.Passphrase
	if len(passphrase) == 0 {
		passphrase = []byte(with.Password) // where others keep it
	}
	parsed, err := ssh.ParsePrivateKey(with.Key)
	if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); encrypted {
		return ssh.ParsePrivateKeyWithPassphrase(with.Key, passphrase)
	}
	return parsed, err
}

// knownHosts reads lines as in ssh's file of that name. The library takes files only; these lines are no secret.
func knownHosts(lines []byte) (*knownhosts.HostKeyDB, error) {
	f, err := os.CreateTemp("", "umbel-known-hosts-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(lines)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	known, err := knownhosts.NewDB(f.Name())
	if err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), f.Name(), "known_hosts"))
	}
	return known, nil
}

func explainSSH(ref source.Ref, at string, err error) error {
	switch {
	case knownhosts.IsHostKeyChanged(err):
		return source.NoSecret("the key of %s is not the one that known_hosts of secret %s has: either the server has a new one, or somebody is in between", at, ref.Secret)
	case knownhosts.IsHostUnknown(err):
		return source.NoSecret("secret %s: known_hosts has no key of %s", ref.Secret, at)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return source.Refused(ref)
	}
	return err
}

// run starts git-upload-pack for a repository.
func (s *overSSH) run(path string) (err error) {
	if strings.ContainsAny(path, "\n\x00") {
		return errors.New("the path of the repository has a character that no path has")
	}
	if s.session, err = s.client.NewSession(); err != nil {
		return err
	}
	s.session.Stderr = &s.said
	if s.in, err = s.session.StdinPipe(); err != nil {
		return err
	}
	if s.out, err = s.session.StdoutPipe(); err != nil {
		return err
	}
	return s.session.Start("git-upload-pack '" + strings.ReplaceAll(path, "'", `'\''`) + "'")
}

// AdvertisedReferencesContext implements conversation. The context is that of the connection.
func (s *overSSH) AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error) {
	said := packp.NewAdvRefs()
	err := said.Decode(s.out)
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs), err == nil && said.IsEmpty():
		return nil, transport.ErrEmptyRemoteRepository
	case errors.Is(err, packp.ErrEmptyInput):
		_ = s.session.Wait() // then all of its complaint is here
		return nil, s.said.explain()
	case err != nil:
		return nil, err
	}
	transport.FilterUnsupportedCapabilities(said.Capabilities)
	return said, nil
}

// UploadPack implements conversation.
func (s *overSSH) UploadPack(_ context.Context, request *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if err := request.Validate(); err != nil {
		return nil, err
	}
	if err := request.UploadRequest.Encode(s.in); err != nil {
		return nil, fmt.Errorf("asking for objects: %w", err)
	}
	if err := request.UploadHaves.Encode(s.in, true); err != nil {
		return nil, fmt.Errorf("saying what is here: %w", err)
	}
	if err := pktline.NewEncoder(s.in).EncodeString("done\n"); err != nil {
		return nil, fmt.Errorf("asking for objects: %w", err)
	}
	if err := s.in.Close(); err != nil {
		return nil, fmt.Errorf("asking for objects: %w", err)
	}
	answer := packp.NewUploadPackResponse(request)
	if err := answer.Decode(io.NopCloser(s.out)); err != nil {
		return nil, fmt.Errorf("reading which objects come: %w", err)
	}
	return answer, nil
}

// Close implements conversation.
func (s *overSSH) Close() error {
	if s.client != nil {
		s.client.Close() //nolint:errcheck // the connection below it ends next
	}
	s.close()
	return nil
}

// complaint is what a program says on its standard error, the first of it.
type complaint struct {
	mu   sync.Mutex
	text bytes.Buffer
}

const maxComplaint = 1 << 10

func (c *complaint) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(p[:min(len(p), maxComplaint-c.text.Len())])
	return len(p), nil
}

func (c *complaint) explain() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := strings.Join(strings.Fields(c.text.String()), " ")
	lower := strings.ToLower(text)
	for _, missing := range []string{"not found", "does not exist", "does not appear to be a git repository", "no such repository", "could not be found"} {
		if strings.Contains(lower, missing) {
			return transport.ErrRepositoryNotFound
		}
	}
	if text == "" {
		text = "the server ended the conversation and said nothing"
	}
	return errors.New(text)
}
