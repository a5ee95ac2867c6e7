package backup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
)

// archive returns one with two parts, as its manifest is changed.
func archive(t testing.TB, change func(*Manifest)) []byte {
	t.Helper()
	parts := map[string][]byte{objectsName: []byte(`{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"shop"}}` + "\n"), "files/config.json": []byte("{}")}
	m := Manifest{Magic: magic, Format: Format, ID: "id", Umbel: "v9", Time: time.Unix(0, 0).UTC()}
	for _, name := range []string{"files/config.json", objectsName} {
		m.Parts = append(m.Parts, partOf(name, parts[name]))
	}
	if change != nil {
		change(&m)
	}
	var out bytes.Buffer
	if err := write(&out, m, func(p Part) ([]byte, error) { return parts[p.Name], nil }); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAnArchiveIsReadAsItWasWritten(t *testing.T) {
	a, err := Open(bytes.NewReader(archive(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]byte{"config.json": []byte("{}")}, a.Files); diff != "" || len(a.Objects) != 1 || a.Objects[0].GetName() != "shop" {
		t.Errorf("%v %s", a.Objects, diff)
	}
}

// TestWhatIsNoWholeBackup is refused, with an error that says what it is.
func TestWhatIsNoWholeBackup(t *testing.T) {
	whole := archive(t, nil)
	for _, c := range []struct {
		reason string
		raw    []byte
		want   error
		says   string
	}{
		{"nothing", nil, ErrForeign, ""},
		{"some text", []byte("hello, world"), ErrForeign, ""},
		{"a backup of something else", archive(t, func(m *Manifest) { m.Magic = "velero" }), ErrForeign, ""},
		{"of a newer version", archive(t, func(m *Manifest) { m.Format = 7 }), ErrNewer, "v9"},
		{"of no version", archive(t, func(m *Manifest) { m.Format = 0 }), ErrDamaged, ""},
		{"one byte of a part is another", archive(t, func(m *Manifest) { m.Parts[0].SHA256 = sum([]byte("[]")) }), ErrDamaged, "files/config.json"},
		{"a part is missing", archive(t, func(m *Manifest) { m.Parts = append(m.Parts, Part{Name: "content/x/y"}); m.Parts[2].Size = 3 }), ErrDamaged, "content/x/y"},
		{"a part that nobody knows", archive(t, func(m *Manifest) { m.Parts = append(m.Parts, partOf("../../etc/passwd", nil)) }), ErrDamaged, "no part"},
	} {
		_, err := Open(bytes.NewReader(c.raw))
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: got %v", c.reason, err)
		}
	}
	for n := range len(whole) {
		if _, err := Open(bytes.NewReader(whole[:n])); !errors.Is(err, ErrForeign) && !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut off after %d of %d bytes: got %v", n, len(whole), err)
		}
	}
	for n := range len(whole) {
		broken := bytes.Clone(whole)
		broken[n] ^= 0x40
		a, err := Open(bytes.NewReader(broken))
		if err == nil && a.ID != "id" {
			t.Fatalf("byte %d changed: it was taken for %q", n, a.ID)
		}
	}
}

// TestASealedBackup is for whoever has the key, and no one else.
func TestASealedBackup(t *testing.T) {
	ours, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	another, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	var sealed bytes.Buffer
	to, err := Seal(&sealed, []string{ours.Recipient().String()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Write(archive(t, nil)); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed.Bytes(), []byte(manifestName)) {
		t.Error("it is not encrypted")
	}
	if _, err := Unseal(bytes.NewReader(sealed.Bytes()), nil); !errors.Is(err, ErrSealed) {
		t.Errorf("without a key: %v", err)
	}
	for _, key := range []string{another.String(), "not a key"} {
		if _, err := Unseal(bytes.NewReader(sealed.Bytes()), []byte(key)); err == nil || strings.Contains(err.Error(), key) {
			t.Errorf("with %.20q: %v", key, err)
		}
	}
	plain, err := Unseal(bytes.NewReader(sealed.Bytes()), []byte("# created by age-keygen\n"+ours.String()+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(plain); err != nil {
		t.Error(err)
	}
	if _, err := Seal(io.Discard, []string{"age1nonsense"}); err == nil || !strings.Contains(err.Error(), "age1nonsense") {
		t.Errorf("a recipient that is none: %v", err)
	}
}

// FuzzOpen: whatever is read, it is an archive that was written, or an error.
func FuzzOpen(f *testing.F) {
	f.Add(archive(f, nil))
	f.Add(archive(f, func(m *Manifest) { m.Format = 2 }))
	f.Add([]byte("age-encryption.org/v1\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := Open(bytes.NewReader(raw))
		if err != nil {
			return
		}
		if _, err := json.Marshal(a.Manifest); err != nil || a.Magic != magic {
			t.Errorf("%+v: %v", a.Manifest, err)
		}
	})
}
