package sops

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// identities are the keys of testdata.
func identities(t testing.TB) []age.Identity {
	t.Helper()
	var all []age.Identity
	for _, name := range []string{"x25519.agekey", "hybrid.agekey"} {
		raw, err := os.ReadFile(filepath.Join("sopstest/testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		some, err := age.ParseIdentities(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
	}
	raw, err := os.ReadFile(filepath.Join("sopstest/testdata", "ssh_ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	ssh, err := agessh.ParseIdentity(raw)
	if err != nil {
		t.Fatal(err)
	}
	return append(all, ssh)
}

func open(t testing.TB, text []byte) (*Plain, error) {
	t.Helper()
	f, err := Read(text)
	if err != nil {
		return nil, err
	}
	key, err := f.Key(identities(t))
	if err != nil {
		return nil, err
	}
	return f.Open(key)
}

func read(t testing.TB, parts ...string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(append([]string{"sopstest/testdata"}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// What the real sops encrypted (sopstest/testdata/generate.sh) is what it decrypts.
func TestAsSOPSDoes(t *testing.T) {
	files, err := os.ReadDir("sopstest/testdata/encrypted")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(file.Name(), func(t *testing.T) {
			plain, err := open(t, read(t, "encrypted", file.Name()))
			if err != nil {
				t.Fatal(err)
			}
			want := read(t, "decrypted", file.Name())
			got, err := plain.Text()
			if err != nil {
				t.Fatal(err)
			}
			switch filepath.Ext(file.Name()) {
			case ".bin", ".txt":
				var ok bool
				if got, ok = plain.Data(); !ok {
					t.Fatal("it is not taken for binary")
				}
			case ".yaml", ".json":
				if _, ok := plain.Data(); ok {
					t.Error("it is taken for binary")
				}
				if diff := cmp.Diff(documents(t, want), documents(t, got)); diff != "" {
					t.Error(diff)
				}
				if bytes.Contains(got, []byte("ENC[")) {
					t.Errorf("something is still encrypted:\n%s", got)
				}
				return
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func documents(t *testing.T, text []byte) (all []any) {
	t.Helper()
	if json.Valid(text) {
		var one any
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&one); err != nil {
			t.Fatal(err)
		}
		return []any{one}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var one any
		if err := decoder.Decode(&one); err != nil {
			return all
		}
		all = append(all, one)
	}
}

func TestComments(t *testing.T) {
	plain, err := open(t, read(t, "encrypted", "secret.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := plain.Text()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# who may read this?", "# the one of the database", "# as a whole"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
}

// Whatever is changed in a file, it is not opened.
func TestChanged(t *testing.T) {
	whole := string(read(t, "encrypted", "secret.yaml"))
	only := string(read(t, "encrypted", "secret-maconly.yaml"))
	line := func(text, key string) string {
		for l := range strings.Lines(text) {
			if strings.HasPrefix(strings.TrimSpace(l), key+": ") {
				return l
			}
		}
		t.Fatalf("no line of %s", key)
		return ""
	}
	value := func(text, key string) string { return strings.TrimSpace(strings.SplitN(line(text, key), ": ", 2)[1]) }
	swapped := strings.NewReplacer(value(whole, "password"), value(whole, "text"), value(whole, "text"), value(whole, "password"))
	cases := []struct{ reason, text string }{
		{"values change places", swapped.Replace(whole)},
		{"a value is taken away", strings.Replace(whole, line(whole, "text"), "", 1)},
		{"a value that is not encrypted is added", strings.Replace(whole, "stringData:\n", "stringData:\n    more: text\n", 1)},
		{"an empty value becomes one", strings.Replace(whole, `empty: ""`, "empty: text", 1)},
		{"an encrypted value becomes empty", strings.Replace(whole, value(whole, "text"), `""`, 1)},
		{"a value is copied to another key", strings.Replace(whole, "stringData:\n", "stringData:\n    more: "+value(whole, "text")+"\n", 1)},
		{"the kind is another one", strings.Replace(whole, "kind: Secret", "kind: ConfigMap", 1)},
		{"the namespace is another one", strings.Replace(whole, "namespace: shop", "namespace: mine", 1)},
		{"a label is added", strings.Replace(whole, "app: db\n", "app: db\n        tier: x\n", 1)},
		{"the rule is another one", strings.Replace(whole, "^(data|stringData)$", "^(nothing)$", 1)},
		{"the time is another one", strings.Replace(whole, value(whole, "lastmodified"), `"2020-01-01T00:00:00Z"`, 1)},
		{"the MAC of another file", strings.Replace(whole, value(whole, "mac"), value(only, "mac"), 1)},
		{"the MAC is said to be over less", strings.Replace(whole, "encrypted_regex:", "mac_only_encrypted: true\n    encrypted_regex:", 1)},
		{"there is no MAC", strings.Replace(whole, line(whole, "mac"), "", 1)},
		{"values change places, MAC over encrypted ones", strings.NewReplacer(value(only, "password"), value(only, "text"), value(only, "text"), value(only, "password")).Replace(only)},
		{"a value is taken away, MAC over encrypted ones", strings.Replace(only, line(only, "text"), "", 1)},
		{"a byte of a value", strings.Replace(whole, "password: ENC[AES256_GCM,data:", "password: ENC[AES256_GCM,data:AAAA", 1)},
		{"documents change places", func() string {
			text := string(read(t, "encrypted", "several.yaml"))
			parts := strings.SplitN(text, "---\n", 3)
			return parts[2] + "---\n" + parts[1] + "---\n" + parts[0]
		}()},
		{"a key twice", strings.Replace(whole, "type: Opaque", "type: Opaque\ntype: Opaque", 1)},
		{"an alias", strings.Replace(whole, "app: db", "app: &a db\n        tier: *a", 1)},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if c.text == whole || c.text == only {
				t.Fatal("nothing was changed")
			}
			_, err := open(t, []byte(c.text))
			if err == nil {
				t.Fatal("it was opened")
			}
			if text := err.Error(); strings.Contains(text, "ENC[") || strings.Contains(text, "marker") || strings.Contains(text, "postgres") {
				t.Errorf("the error tells something: %v", err)
			}
		})
	}
	if _, err := open(t, []byte(strings.Replace(only, "app: db", "app: other", 1))); err != nil {
		t.Errorf("what the MAC is not over may change: %v", err)
	}
}

func TestForSomebodyElse(t *testing.T) {
	f, err := Read(read(t, "encrypted", "secret.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range [][]age.Identity{nil, {stranger}} {
		if _, err := f.Key(keys); err != ErrNoIdentity {
			t.Errorf("got %v", err)
		}
	}
	if got := f.Recipients(); len(got) != 1 || !strings.HasPrefix(got[0], "age1x9cq") {
		t.Errorf("recipients: %v", got)
	}
}

func TestDetect(t *testing.T) {
	for name, want := range map[string]Format{
		"secret.yaml": YAML, "several.yaml": YAML, "types.json": JSON, "file.env": Dotenv, "file.ini": INI, "file.bin": JSON, "file.txt": JSON,
	} {
		if got := Detect(read(t, "encrypted", name)); got != want {
			t.Errorf("%s: %v, not %v", name, got, want)
		}
		if name != "several.yaml" {
			if got := Detect(read(t, "plain", name)); got != None {
				t.Errorf("%s as it was: %v", name, got)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	files, err := os.ReadDir("sopstest/testdata/encrypted")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add(read(f, "encrypted", file.Name()))
	}
	f.Add([]byte("sops: {mac: x, lastmodified: 2020-01-01T00:00:00Z}\na: &a [*a]"))
	f.Add([]byte("sops_mac=\nsops_lastmodified=\nsops_age__list_9999__map_enc="))
	key := bytes.Repeat([]byte{1}, keySize)
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Read(text)
		if err != nil {
			return
		}
		for i := range file.documents {
			file.Head(i)
		}
		file.Values()
		if _, err := file.Open(key); err == nil && len(file.metadata.mac) > 0 {
			t.Error("it was opened with a key that nobody encrypted it with")
		}
		if _, err := file.write(); err == nil {
			return
		}
	})
}
