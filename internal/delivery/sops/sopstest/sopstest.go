// Package sopstest has files that the real sops encrypted, for tests, and the key to them (testdata/generate.sh).
package sopstest

import (
	"bytes"
	"embed"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"umbel.dev/umbel/internal/delivery/sops"
)

// Marker is in the values of the files: password, and token as text. Of what ends in -2 it is Marker2.
const (
	Marker  = "umbel-marker-93ab7f"
	Marker2 = Marker + "-2"
)

//go:embed testdata/encrypted/* testdata/x25519.agekey testdata/ssh_ed25519
var testdata embed.FS

// File returns an encrypted file.
func File(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := testdata.ReadFile("testdata/encrypted/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Identity is the key of the files.
func Identity(t testing.TB) *age.X25519Identity {
	t.Helper()
	raw, err := testdata.ReadFile("testdata/x25519.agekey")
	if err != nil {
		t.Fatal(err)
	}
	identities, err := age.ParseIdentities(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return identities[0].(*age.X25519Identity)
}

// SSHKey is the private key of secret-ssh.yaml.
func SSHKey(t testing.TB) []byte {
	t.Helper()
	raw, err := testdata.ReadFile("testdata/ssh_ed25519")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// For returns an encrypted file as it is after `sops updatekeys`: for somebody else.
func For(t testing.TB, name, recipient string) []byte {
	t.Helper()
	text := string(File(t, name))
	file, err := sops.Read([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	key, err := file.Key([]age.Identity{Identity(t)})
	if err != nil {
		t.Fatal(err)
	}
	to, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	w, err := age.Encrypt(armored, to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(key)
	for _, err := range []error{err, w.Close(), armored.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	was := file.Keys()[0]
	for _, newline := range []string{"\n            ", `\n`} {
		text = strings.ReplaceAll(text, lines(was.Encrypted, newline), lines(out.String(), newline))
	}
	return []byte(strings.ReplaceAll(text, was.Recipient, recipient))
}

func lines(armored, newline string) string {
	return strings.ReplaceAll(strings.TrimSpace(armored), "\n", newline)
}
