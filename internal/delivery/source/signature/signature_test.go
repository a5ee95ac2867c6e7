package signature_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"umbel.dev/umbel/internal/delivery/source/signature"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// raw is a Git object as it is hashed.
func raw(repo *sourcetest.Repository, kind, name string) []byte {
	return []byte(repo.Git("cat-file", kind, name) + "\n")
}

func keysOf(t *testing.T, entries map[string]string) *signature.Keys {
	t.Helper()
	all := map[string][]byte{}
	for name, text := range entries {
		all[name] = []byte(text)
	}
	keys, err := signature.Parse(all)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestCommitsAndTagsThatGitSigned: what git signs with ssh's and GPG's own programs is taken, and nothing that was changed since.
func TestCommitsAndTagsThatGitSigned(t *testing.T) {
	ada, eve, gpg := sourcetest.NewSSHKey(t, "ada@example.org"), sourcetest.NewSSHKey(t, "eve@example.org"), sourcetest.NewGPG(t, "Ada <ada@example.org>")
	for _, signer := range []struct {
		name, want string
		by         sourcetest.Signer
	}{{"ssh", "ada@example.org (ssh SHA256:", ada}, {"GPG", "Ada <ada@example.org> (gpg ", gpg}} {
		repo := sourcetest.New(t)
		unsigned := repo.Commit(map[string]string{"a.yaml": "a: 1\n"})
		repo.SignedBy(signer.by)
		commit := repo.Commit(map[string]string{"a.yaml": "a: 2\n"})
		repo.Git("tag", "-s", "-m", "the first one", "v1.0.0")
		repo.Git("tag", "-a", "-m", "nobody signed it", "v0.9.0")
		keys := keysOf(t, map[string]string{"signers": signer.by.Public()})
		others := keysOf(t, map[string]string{"signers": eve.Public()})

		object, tag := raw(repo, "commit", commit), raw(repo, "tag", "v1.0.0")
		by, err := keys.Commit(object)
		if err != nil || !strings.HasPrefix(by.String(), signer.want) {
			t.Errorf("%s: a signed commit is by %q (%v), want %q", signer.name, by, err, signer.want)
		}
		if by, err := keys.Tag(tag, "v1.0.0", commit); err != nil || !strings.HasPrefix(by.String(), signer.want) {
			t.Errorf("%s: a signed tag is by %q (%v), want %q", signer.name, by, err, signer.want)
		}
		for _, bad := range []struct {
			reason, want string
			look         func() error
		}{
			{"nobody signed the commit", "it is not signed", func() error { _, err := keys.Commit(raw(repo, "commit", unsigned)); return err }},
			{"nobody signed the tag", "it is not signed", func() error { _, err := keys.Tag(raw(repo, "tag", "v0.9.0"), "v0.9.0", commit); return err }},
			{"the key is not among these", "not among the keys", func() error { _, err := others.Commit(object); return err }},
			{"the tag stands under another name", `made as the tag "v1.0.0"`, func() error { _, err := keys.Tag(tag, "v2.0.0", commit); return err }},
			{"the tag leads to another commit", "does not lead to the commit", func() error { _, err := keys.Tag(tag, "v1.0.0", unsigned); return err }},
			{"the message was changed", "", func() error {
				_, err := keys.Commit(bytes.Replace(object, []byte("a change"), []byte("b change"), 1))
				return err
			}},
			{"the tree was changed", "", func() error {
				tree := bytes.TrimSpace([]byte(repo.Git("rev-parse", unsigned+"^{tree}")))
				_, err := keys.Commit(append([]byte("tree "+string(tree)), object[45:]...))
				return err
			}},
			{"there are two trees", `two headers "tree"`, func() error {
				_, err := keys.Commit(append(append(bytes.Clone(object[:46]), object[:46]...), object[46:]...))
				return err
			}},
			{"the tag's message was changed", "", func() error {
				_, err := keys.Tag(bytes.Replace(tag, []byte("first"), []byte("worst"), 1), "v1.0.0", commit)
				return err
			}},
		} {
			if err := bad.look(); err == nil || !strings.Contains(err.Error(), bad.want) {
				t.Errorf("%s: %s: got %v, want %q", signer.name, bad.reason, err, bad.want)
			}
		}
		if _, err := keys.Commit(raw(repo, "commit", unsigned)); !errors.Is(err, signature.ErrUnsigned) {
			t.Errorf("%s: an unsigned commit gives %v", signer.name, err)
		}
	}
}

// TestWhatAllowedSignersRuleOut: what ssh-keygen(1) says of a line holds.
func TestWhatAllowedSignersRuleOut(t *testing.T) {
	ada := sourcetest.NewSSHKey(t, "ada@example.org")
	repo := sourcetest.New(t)
	repo.SignedBy(ada)
	commit := repo.CommitAt("2026-03-04T05:06:07Z", map[string]string{"a.yaml": "a: 1\n"})
	object := raw(repo, "commit", commit)
	_, key, _ := strings.Cut(ada.Public(), " ")
	for _, tc := range []struct{ line, want string }{
		{"ada " + key, ""},
		{`ada namespaces="git" ` + key, ""},
		{`"ada,grace" namespaces="file,g*",valid-after="20260101" ` + key, ""},
		{`ada valid-after="20260304050607Z",valid-before="202603040507" ` + key, ""},
		{"# a comment\n\nada " + key + " a comment", ""},
		{`ada namespaces="file" ` + key, `and not for "git"`},
		{`ada namespaces="*,!git" ` + key, `and not for "git"`},
		{`ada valid-before="20260304" ` + key, "was valid until 2026-03-04T00:00:00Z, and it was signed on 2026-03-04T05:06:07Z"},
		{`ada valid-after="20260305" ` + key, "is valid from 2026-03-05T00:00:00Z on"},
		{"ada cert-authority " + key, "not among the keys"}, // the key of an authority signs nothing itself
	} {
		_, err := keysOf(t, map[string]string{"allowed_signers": tc.line}).Commit(object)
		if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.60s: got %v, want %q", tc.line, err, tc.want)
		}
	}
	for _, tc := range []struct{ entry, want string }{
		{"ada no-such-option=1 " + key, "line 1 of allowed signers: it has an option that is not known"},
		{"ada valid-before=tomorrow " + key, `"tomorrow" is no time`},
		{"ada", "want PRINCIPALS"},
		{`"ada ` + key, "a double quote is not closed"},
		{"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "it is neither"},
		{"-----BEGIN PGP PUBLIC KEY BLOCK-----\nAAAA\n", "no GPG public key"},
		{"# nobody\n", "there is no key in it"},
	} {
		_, err := signature.Parse(map[string][]byte{"keys": []byte(tc.entry)})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.40q: got %v, want %q", tc.entry, err, tc.want)
		}
	}
}

// TestACertificateOfAnAuthority: a key counts that an authority among the allowed signers has certified, for whom it may speak.
func TestACertificateOfAnAuthority(t *testing.T) {
	authority, ada := sourcetest.NewSSHKey(t, "authority"), sourcetest.NewSSHKey(t, "ada@example.org")
	ada.CertifiedBy(authority, "-V", "20260101:20260201")
	repo := sourcetest.New(t)
	repo.SignedBy(ada)
	within := raw(repo, "commit", repo.CommitAt("2026-01-15T00:00:00Z", map[string]string{"a.yaml": "a: 1\n"}))
	later := raw(repo, "commit", repo.CommitAt("2026-02-15T00:00:00Z", map[string]string{"a.yaml": "a: 2\n"}))
	_, key, _ := strings.Cut(authority.Public(), " ")
	for _, tc := range []struct {
		line   string
		object []byte
		want   string
	}{
		{"*@example.org cert-authority " + key, within, ""},
		{"*@example.org cert-authority " + key, later, "its certificate does not hold"},
		{"*@example.com cert-authority " + key, within, "may speak for *@example.com only"},
		{"*@example.org " + key, within, "not among the keys"},
	} {
		by, err := keysOf(t, map[string]string{"allowed_signers": tc.line}).Commit(tc.object)
		if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.40s: got %v, want %q", tc.line, err, tc.want)
		}
		if err == nil && by.Name != "ada@example.org" {
			t.Errorf("%.40s: signed by %q", tc.line, by.Name)
		}
	}
}

// TestAsGitSays: git's own verdict, with the same allowed signers, is the same.
func TestAsGitSays(t *testing.T) {
	ada := sourcetest.NewSSHKey(t, "ada@example.org")
	repo := sourcetest.New(t)
	repo.SignedBy(ada)
	_, key, _ := strings.Cut(ada.Public(), " ")
	commit := repo.CommitAt("2026-03-04T05:06:07Z", map[string]string{"a.yaml": "a: 1\n"})
	object := raw(repo, "commit", commit)
	file := filepath.Join(t.TempDir(), "allowed")
	for _, line := range []string{
		"ada " + key, `ada namespaces="git" ` + key, `ada namespaces="file" ` + key, `ada namespaces="*,!git" ` + key, `ada namespaces="!file,*" ` + key,
		`ada valid-before="20260304Z" ` + key, `ada valid-after="20260305Z" ` + key, `ada valid-after="20260303Z",valid-before="20260305Z" ` + key,
		"ada cert-authority " + key, `ada namespaces="g?t" ` + key,
	} {
		if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		git := exec.CommandContext(t.Context(), "git", "-c", "gpg.format=ssh", "-c", "gpg.ssh.allowedSignersFile="+file, "verify-commit", commit)
		git.Dir = repo.Dir
		said, err := git.CombinedOutput()
		_, ours := keysOf(t, map[string]string{"allowed_signers": line}).Commit(object)
		if (err == nil) != (ours == nil) {
			t.Errorf("%.60s: git says %v (%s), and we %v", line, err, said, ours)
		}
	}
}

// TestNoKeyIsTold: what stands in an entry that is no key may be a secret.
func TestNoKeyIsTold(t *testing.T) {
	for _, entry := range []string{sourcetest.Canary, "a " + sourcetest.Canary + "=b c", "a b=" + sourcetest.Canary, "-----BEGIN PRIVATE KEY-----\n" + sourcetest.Canary} {
		_, err := signature.Parse(map[string][]byte{"password": []byte(entry)})
		if err == nil || strings.Contains(err.Error(), sourcetest.Canary) {
			t.Errorf("%q: %v", entry, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`ada namespaces="git",valid-after="20260101" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF5lYWxseSBub3QgYSBrZXkgYXQgYWxsISEhISEh`))
	f.Add([]byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"))
	f.Fuzz(func(t *testing.T, entry []byte) {
		keys, err := signature.Parse(map[string][]byte{"keys": entry})
		if err == nil {
			if _, err := keys.Commit([]byte("tree 0123456789012345678901234567890123456789\ncommitter A <a> 1 +0000\n\nx\n")); err == nil {
				t.Error("a commit without a signature is taken")
			}
		}
	})
}

func FuzzObjects(f *testing.F) {
	f.Add([]byte("tree 0123456789012345678901234567890123456789\ncommitter A <a> 1 +0000\ngpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n\nx\n"))
	f.Add([]byte("object 0123456789012345678901234567890123456789\ntype commit\ntag v1\ntagger A <a> 1 +0000\n\nx\n-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"))
	keys, err := signature.Parse(map[string][]byte{"k": []byte("a ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1HjRbG5H6QKKAiHnMGHaIbgO1P8mWnJ6VsrZ8RSjfK")})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		if _, err := keys.Commit(object); err == nil {
			t.Error("a commit is taken that nobody signed")
		}
		if _, err := keys.Tag(object, "", "0123456789012345678901234567890123456789"); err == nil {
			t.Error("a tag is taken that nobody signed")
		}
	})
}
