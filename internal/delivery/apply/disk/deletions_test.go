package disk

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"umbel.dev/umbel/internal/delivery/bundle"
)

// TestNothingIsAddedToWhatIsBeingUndone: who brings a deletion back knows all of its objects.
func TestNothingIsAddedToWhatIsBeingUndone(t *testing.T) {
	journal := OpenDeletions(t.TempDir(), DefaultLimits)
	like := Deletion{Package: "shop/web", Release: "two", Cause: "Budget"}
	object := func(name string) []Deleted {
		return []Deleted{{Key: bundle.Key{Kind: "ConfigMap", Name: name}, Object: json.RawMessage(`{"kind":"ConfigMap"}`)}}
	}
	begin := func() string {
		t.Helper()
		id, err := journal.Begin(like)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	id := begin()
	if err := journal.Record(id, object("a")); err != nil {
		t.Fatal(err)
	}
	if again := begin(); again != id {
		t.Errorf("an unfinished deletion is not gone on with: %s, then %s", id, again)
	}
	if _, err := journal.SetUndo(id, Undo{}); err != nil {
		t.Fatal(err)
	}
	if err := journal.Record(id, object("b")); err == nil {
		t.Error("an object was added to a deletion that is being undone")
	}
	objects, err := journal.Read(id)
	if err != nil || len(objects) != 1 {
		t.Errorf("there are %d objects, and %v; want the one from before", len(objects), err)
	}
	other := begin()
	if err := journal.Record(other, object("b")); err != nil || other == id {
		t.Errorf("what goes later is in deletion %s (the first is %s): %v", other, id, err)
	}
}

// TestTheLatestDeletionStays: one that is larger than all that may be kept could not be undone otherwise. What is older goes for it, and
// with its age it goes as well.
func TestTheLatestDeletionStays(t *testing.T) {
	dir, now := t.TempDir(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	journal := OpenDeletions(dir, Limits{Age: time.Hour, Bytes: 10})
	deletes := func(release string, at time.Time) string {
		t.Helper()
		id, err := journal.Begin(Deletion{Package: "shop/web", Release: release, Cause: "Budget", At: at})
		if err == nil {
			err = journal.Record(id, []Deleted{{Key: bundle.Key{Kind: "ConfigMap", Name: release}, Object: json.RawMessage(`{"kind":"ConfigMap","data":{"a":"larger than that"}}`)}})
		}
		if err == nil {
			err = journal.Close(id)
		}
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	kept := func(at time.Time, want ...string) {
		t.Helper()
		if _, err := journal.Trim(at); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range journal.List() {
			got = append(got, d.ID)
		}
		if len(got) != len(want) || len(want) > 0 && got[0] != want[0] {
			t.Errorf("kept are %v, want %v", got, want)
		}
	}
	one := deletes("one", now)
	kept(now, one)
	two := deletes("two", now.Add(time.Minute))
	kept(now.Add(time.Minute), two)
	kept(now.Add(2 * time.Hour))
}

// TestWhatACrashLeftOfADeletion goes at the next start, if nothing was deleted for it; what cannot be read stays for people.
func TestWhatACrashLeftOfADeletion(t *testing.T) {
	dir := t.TempDir()
	for name, files := range map[string]map[string]string{
		"00000000": {"000000" + batchSuffix: "it was written, and what it is about was not"},
		"11111111": {deletionFile: "garbage", "000000" + batchSuffix: "of something that was deleted"},
	} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		for file, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	journal := OpenDeletions(dir, DefaultLimits)
	if err := journal.Known(); err != nil || len(journal.List()) != 0 {
		t.Fatalf("it has %v, %v", journal.List(), err)
	}
	if _, err := os.Stat(filepath.Join(dir, "00000000")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what nothing was deleted for stays: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "11111111", deletionFile)); err != nil {
		t.Errorf("what cannot be read went: %v", err)
	}
}
