package disk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/internal/delivery/bundle"
)

// FuzzInventory: whatever stands in the file, reading it gives an inventory or an error, and what was read can be
// written and read again.
func FuzzInventory(f *testing.F) {
	f.Add([]byte(`{"k":{"Group":"","Kind":"ConfigMap","Namespace":"a","Name":"b"},"i":{"v":"v1","r":"configmaps","n":true,"h":1}}` + "\n"))
	f.Add([]byte("{}\n\n{"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := in(t.TempDir())
		if err := os.WriteFile(filepath.Join(d.dir, "inventory.jsonl"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		first, err := d.ReadInventory()
		if err != nil {
			return
		}
		if err := d.WriteInventory(func() Inventory { return first }); err != nil {
			t.Fatal(err)
		}
		second, err := d.ReadInventory()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzOrder: a damaged order is an error, never an order to remove something that the file does not say.
func FuzzOrder(f *testing.F) {
	f.Add([]byte(`{"package":"shop/web","current":{"digest":"sha256:00"}}`))
	f.Add([]byte(`{"package":"shop/web","removing":true}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := in(t.TempDir())
		if err := os.WriteFile(filepath.Join(d.dir, "order.json"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := d.ReadOrder()
		if err != nil && o.Removing {
			t.Errorf("an unreadable order asks for removal: %q", raw)
		}
	})
}

// TestTheJournal: what was noted since the inventory was written counts, a line that a crash cut off does not, and what
// comes while the inventory is being written is not lost.
func TestTheJournal(t *testing.T) {
	f := in(t.TempDir())
	a, b, c := bundle.Key{Kind: "ConfigMap", Name: "a"}, bundle.Key{Kind: "ConfigMap", Name: "b"}, bundle.Key{Kind: "ConfigMap", Name: "c"}
	start := Inventory{a: {Version: "v1"}, b: {Version: "v1"}}
	if err := f.WriteInventory(func() Inventory { return start }); err != nil {
		t.Fatal(err)
	}
	note := func(key bundle.Key, uid string) {
		t.Helper()
		if _, err := f.Note(key, Item{Version: "v1", UID: types.UID(uid)}); err != nil {
			t.Fatal(err)
		}
	}
	reads := func(want Inventory) {
		t.Helper()
		got, err := in(f.dir).ReadInventory()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	note(a, "1")
	note(a, "2")
	note(c, "3") // not in the inventory: whatever it was, nobody asked for it
	reads(Inventory{a: {Version: "v1", UID: "2"}, b: {Version: "v1"}})

	if _, err := f.journal.append([]byte(`{"k":{"Kind":"ConfigMap","Name":"b"},"i":{"v":"v1","u":"cut o`)); err != nil {
		t.Fatal(err)
	}
	f = in(f.dir) // the process was killed
	note(b, "4")
	reads(Inventory{a: {Version: "v1", UID: "2"}, b: {Version: "v1", UID: "4"}})

	err := f.WriteInventory(func() Inventory {
		note(b, "5") // by another hand
		return Inventory{a: {Version: "v1", UID: "2"}, b: {Version: "v1", UID: "4"}}
	})
	if err != nil {
		t.Fatal(err)
	}
	reads(Inventory{a: {Version: "v1", UID: "2"}, b: {Version: "v1", UID: "5"}})
	if err := f.WriteInventory(func() Inventory { return Inventory{b: {Version: "v1", UID: "5"}} }); err != nil {
		t.Fatal(err)
	}
	if f.Noted() {
		t.Error("the journal goes on although the inventory has everything")
	}
	reads(Inventory{b: {Version: "v1", UID: "5"}})
}

// TestAnInventoryThatWasCut: wherever a file ends before its end, it is no shorter inventory. One that an agent of before wrote has no
// count, and is read as it is; so is one of nothing that it wrote, and none once this one has counted.
func TestAnInventoryThatWasCut(t *testing.T) {
	f := in(t.TempDir())
	path := filepath.Join(f.dir, "inventory.jsonl")
	whole := Inventory{}
	for _, name := range []string{"a", "b", "c"} {
		whole[bundle.Key{Kind: "ConfigMap", Name: name}] = Item{Version: "v1"}
	}
	before := `{"k":{"Kind":"ConfigMap","Name":"a"},"i":{"v":"v1"}}` + "\n" + `{"k":{"Kind":"ConfigMap","Name":"b"},"i":{"v":"v1"}}` + "\n"
	writes := func(raw string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reads := func(want int) {
		t.Helper()
		if got, err := in(f.dir).ReadInventory(); err != nil || len(got) != want {
			t.Errorf("got %v, %v; want %d objects", got, err, want)
		}
	}
	for raw, want := range map[string]int{before: 2, "": 0} {
		writes(raw)
		reads(want)
	}
	if err := f.WriteInventory(func() Inventory { return whole }); err != nil {
		t.Fatal(err)
	}
	reads(3)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for end := range raw {
		if end == len(raw)-1 {
			continue // all lines are there
		}
		writes(string(raw[:end]))
		if got, err := in(f.dir).ReadInventory(); err == nil {
			t.Errorf("cut after %d bytes of %d it reads as %v", end, len(raw), got)
		}
	}
	writes(string(raw) + before)
	if got, err := in(f.dir).ReadInventory(); err == nil {
		t.Errorf("with more lines it reads as %v", got)
	}
	writes(before) // an agent of before was here again
	reads(2)
	if err := f.WriteInventory(func() Inventory { return nil }); err != nil {
		t.Fatal(err)
	}
	reads(0)
}

// TestGarbageInTheJournal: what a full disk or a power failure leaves there stops no start.
func TestGarbageInTheJournal(t *testing.T) {
	f := in(t.TempDir())
	a := bundle.Key{Kind: "ConfigMap", Name: "a"}
	if err := f.WriteInventory(func() Inventory { return Inventory{a: {Version: "v1"}} }); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.journal.path, []byte("{\"k\":{\"Ki\n\x00\x00\x00\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f = in(f.dir)
	if _, err := f.Note(a, Item{Version: "v1", UID: "1"}); err != nil {
		t.Fatal(err)
	}
	got, err := in(f.dir).ReadInventory()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Inventory{a: {Version: "v1", UID: "1"}}, got); diff != "" {
		t.Error(diff)
	}
}
