package disk

import (
	"encoding/json"
	"testing"

	"umbel.dev/umbel/internal/delivery/bundle"
)

// TestNothingIsAddedToWhatIsBeingUndone: who brings a deletion back knows all of its objects.
func TestNothingIsAddedToWhatIsBeingUndone(t *testing.T) {
	journal, err := OpenDeletions(t.TempDir(), DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
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
