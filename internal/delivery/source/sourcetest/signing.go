package sourcetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Signer signs commits and tags with the program that people use for it.
type Signer interface {
	// Public is the public key as a Secret or a ConfigMap has it.
	Public() string
	// configure returns the settings of git by which it signs.
	configure() map[string]string
}

// SSHKey is a key of ssh.
type SSHKey struct {
	// File is the private key; the public one stands beside it.
	File      string
	principal string
	t         testing.TB
}

// NewSSHKey makes a key with ssh-keygen.
func NewSSHKey(t testing.TB, principal string) *SSHKey {
	t.Helper()
	k := &SSHKey{filepath.Join(t.TempDir(), "key"), principal, t}
	k.run("-q", "-t", "ed25519", "-N", "", "-C", principal, "-f", k.File)
	return k
}

func (k *SSHKey) run(args ...string) {
	k.t.Helper()
	if out, err := exec.CommandContext(k.t.Context(), "ssh-keygen", args...).CombinedOutput(); err != nil {
		k.t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
}

// Public is a line of allowed signers.
func (k *SSHKey) Public() string {
	k.t.Helper()
	public, err := os.ReadFile(k.File + ".pub")
	if err != nil {
		k.t.Fatal(err)
	}
	return k.principal + " " + strings.TrimSpace(string(public))
}

// CertifiedBy has another key certify this one, which signs with the certificate from then on.
func (k *SSHKey) CertifiedBy(authority *SSHKey, options ...string) {
	k.t.Helper()
	k.run(append([]string{"-q", "-s", authority.File, "-I", "test", "-n", k.principal}, append(options, k.File+".pub")...)...)
}

func (k *SSHKey) configure() map[string]string {
	key := k.File + ".pub"
	if _, err := os.Stat(k.File + "-cert.pub"); err == nil {
		key = k.File + "-cert.pub"
	}
	return map[string]string{"gpg.format": "ssh", "user.signingkey": key}
}

// GPG is a key of GPG, in a folder of its own.
type GPG struct {
	home, user string
	t          testing.TB
}

// NewGPG makes a key with gpg.
func NewGPG(t testing.TB, user string) *GPG {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg") // the path of its socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	k := &GPG{home, user, t}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() // where there is none it says so
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	k.run("--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key", user, "ed25519", "sign", "never")
	return k
}

func (k *GPG) run(args ...string) string {
	k.t.Helper()
	gpg := exec.CommandContext(k.t.Context(), "gpg", append([]string{"--homedir", k.home, "--batch", "--quiet"}, args...)...)
	var complaint strings.Builder
	gpg.Stderr = &complaint
	out, err := gpg.Output()
	if err != nil {
		k.t.Fatalf("gpg: %v\n%s", err, complaint.String())
	}
	return string(out)
}

// Public is the public key in armour.
func (k *GPG) Public() string { return k.run("--armor", "--export", k.user) }

func (k *GPG) configure() map[string]string {
	program := filepath.Join(k.home, "gpg.sh")
	script := "#!/bin/sh\nexec gpg --homedir '" + k.home + "' --batch \"$@\"\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		k.t.Fatal(err)
	}
	return map[string]string{"gpg.format": "openpgp", "gpg.program": program, "user.signingkey": k.user}
}

// SignedBy has all commits of the repository signed from now on; nil has none.
func (r *Repository) SignedBy(signer Signer) {
	r.t.Helper()
	if signer == nil {
		r.Git("config", "commit.gpgsign", "false")
		return
	}
	for name, value := range signer.configure() {
		r.Git("config", name, value)
	}
	r.Git("config", "commit.gpgsign", "true")
}

// CommitAt is Commit at a time.
func (r *Repository) CommitAt(at string, files map[string]string) string {
	r.t.Helper()
	r.at = at
	defer func() { r.at = "" }()
	return r.Commit(files)
}
