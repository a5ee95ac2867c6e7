//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// password is what docs/operate/secrets.md encrypts.
const password = "correct-horse-battery"

// secretsPage is the page docs/operate/secrets.md, with the real sops: a Secret that people encrypted for the clusters is in every cluster, and
// nowhere else; a cluster gets a new key, one that cannot open what it gets says so, and the password is in nothing that hub or
// agent keep or say.
func secretsPage(s *story) {
	text, err := os.ReadFile("../../docs/operate/secrets.md")
	if err != nil {
		s.Fatal(err)
	}
	mine := s.TempDir() // what a person keeps
	var blocks []string
	for i, part := range strings.Split(string(text), "```\n") {
		if i%2 == 1 {
			part = strings.NewReplacer("~/.umbel", s.Home, "~/.config/sops/age", mine).Replace(part)
			blocks = append(blocks, "export SOPS_AGE_KEY_FILE="+mine+"/keys.txt\n"+part)
		}
	}
	if len(blocks) != 4 {
		s.Fatalf("the page has %d blocks of commands, want 4", len(blocks))
	}
	s.eventually("every cluster says for whom to encrypt", func(ctx context.Context) error {
		_, err := s.Umbel(ctx, "secrets", "recipients", "-o", "name")
		return err
	})
	for _, block := range blocks[:3] {
		s.shell(block)
	}
	for _, cluster := range everyCluster {
		s.knows(cluster, password)
	}
	if out := s.umbel("plan", "vault", "--from", s.Repository()); strings.Contains(out, "vault/db") {
		s.Errorf("the plan of what is there speaks of the Secret:\n%s", out)
	}

	// Somebody edits it, as people do; a plan tells of it before, and shows nothing.
	me := "export SOPS_AGE_KEY_FILE=" + mine + "/keys.txt\n" + `cd "$UMBEL_HOME/fleet" && `
	edit := me + `sops set vault/db.yaml '["stringData"]["password"]' '"` + password + `-2"'`
	s.shell(edit)
	if out := s.umbel("plan", "vault", "--from", s.Repository()); !strings.Contains(out, "changed (encrypted)") || strings.Contains(out, password) {
		s.Errorf("the plan says:\n%s", out)
	}
	s.shell(`git -C "$UMBEL_HOME/fleet" commit -qam 'Another password'`)
	s.knows("dev", password+"-2")
	s.umbel("kubectl", "dev", "--", "delete", "secret", "db", "-n", "vault")
	s.knows("dev", password+"-2")

	// A new key; what is encrypted for it, and for those before, is opened.
	before := s.umbel("secrets", "recipients", "prod-eu", "-o", "name")
	lines := strings.Split(strings.TrimSpace(blocks[3]), "\n")
	s.shell(lines[1])
	s.eventually("there is another key", func(ctx context.Context) error {
		if now, err := s.Umbel(ctx, "secrets", "recipients", "prod-eu", "-o", "name"); err != nil || now == before {
			return fmt.Errorf("it is %s (%v)", now, err)
		}
		return nil
	})
	s.shell(strings.Join(append(lines[:1:1], lines[2:]...), "\n"))
	s.packageSays("vault", v1alpha1.ConditionReady, metav1.ConditionTrue)

	// Encrypted for nobody but who wrote it: that is said, and what runs stays.
	s.shell(me + `cp .sops.yaml "${SOPS_AGE_KEY_FILE}.rule" &&
		printf 'creation_rules:\n  - age: %s\n' "$(age-keygen -y "$SOPS_AGE_KEY_FILE")" > .sops.yaml && sops updatekeys --yes vault/db.yaml &&
		sops set vault/db.yaml '["stringData"]["password"]' '"` + password + `-3"' && git commit -qam 'For myself alone'`)
	s.memberSays("prod-us", v1alpha1.ConditionSynced, metav1.ConditionFalse, "vault")
	s.describes("vault", "it is encrypted for age1", "sops updatekeys")
	s.knows("prod-us", password+"-2")
	s.shell(me + `cp "${SOPS_AGE_KEY_FILE}.rule" .sops.yaml && sops updatekeys --yes vault/db.yaml && git commit -qam 'For all'`)
	for _, cluster := range everyCluster {
		s.knows(cluster, password+"-3")
	}
	s.toldNowhere(password)
	s.deletePackage("vault")
	s.toldNowhere(password)
}

// knows waits until a cluster has the password.
func (s *story) knows(cluster, want string) {
	s.Helper()
	client := s.clients(cluster)
	s.eventually(cluster+" has the password", func(ctx context.Context) error {
		got, err := client.CoreV1().Secrets("vault").Get(ctx, "db", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if string(got.Data["password"]) != want {
			return fmt.Errorf("it has another one")
		}
		return nil
	})
}

// toldNowhere looks for a text, also in base64, in all that hub and agents keep and say: in every file of the data folder, unpacked too, but
// those of the members' own stores, and in the events and statuses that can be asked for.
func (s *story) toldNowhere(secret string) {
	s.Helper()
	needles := formsOf([]byte(secret))
	look := func(where string, content []byte) {
		for _, needle := range needles {
			if bytes.Contains(content, needle) {
				s.Errorf("%s has %q", where, needle)
			}
		}
	}
	locals := filepath.Join(s.Home, "local")
	files := s.eachFile(s.Home, func(path string) bool {
		rest, local := strings.CutPrefix(path, locals)
		return local && strings.Contains(rest, "etcd")
	}, look)
	if files < 100 {
		s.Errorf("only %d files were looked at", files)
	}
	look("what packages say", []byte(s.umbel("get", "packages", "-A", "-o", "json")))
	look("what clusters say", []byte(s.umbel("get", "clusters", "-o", "json")))
	look("what drifted", []byte(s.umbel("drift", "-A", "-o", "json")))
	for _, cluster := range everyCluster {
		look("the events of "+cluster, []byte(s.umbel("kubectl", cluster, "--", "get", "events", "-A", "-o", "json")))
		look("what is said of it on "+cluster, []byte(s.umbel("describe", "cluster", cluster)))
	}
}

// formsOf are the texts by which a secret is found, wherever it is kept: itself, and in base64 at each offset.
func formsOf(secret []byte) [][]byte {
	forms := [][]byte{secret}
	for skip := range 3 {
		inner := secret[skip:]
		forms = append(forms, []byte(base64.RawStdEncoding.EncodeToString(inner[:len(inner)/3*3])))
	}
	return forms
}

// eachFile looks into the files below a folder, unpacked too, but for those that are skipped, and returns how many there were.
func (s *story) eachFile(dir string, skip func(path string) bool, look func(where string, content []byte)) (files int) {
	s.Helper()
	zip, err := zstd.NewReader(nil)
	if err != nil {
		s.Fatal(err)
	}
	defer zip.Close()
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error { // files come and go
		if err != nil || !entry.Type().IsRegular() || skip(path) {
			return nil
		}
		info, err := entry.Info()
		if err != nil || info.Size() > 512<<20 {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		files++
		look(path, raw)
		if plain, err := zip.DecodeAll(raw, nil); err == nil {
			look(path+", unpacked", plain)
		}
		return nil
	})
	return files
}
