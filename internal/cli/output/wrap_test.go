package output

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		reason, text string
		width        int
		want         []string
	}{
		{"it fits", "a few words", 11, []string{"a few words"}},
		{"it does not", "a few words", 10, []string{"a few", "words"}},
		{"a word that is longer stays whole", "see https://git.example.com/fleet.git there", 12, []string{"see", "https://git.example.com/fleet.git", "there"}},
		{"a command stays whole", "look: `umbel get clusters` lists", 20, []string{"look:", "`umbel get clusters`", "lists"}},
		{"letters count, not bytes", "grün grün", 9, []string{"grün grün"}},
		{"nobody watches", "a few words", 0, []string{"a few words"}},
		{"nothing", "", 5, []string{""}},
	} {
		if diff := cmp.Diff(c.want, Wrap(c.text, c.width)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}

// TestNarrowTable: the last column is wrapped, or stands below where the others leave no room; every word is still there.
func TestNarrowTable(t *testing.T) {
	rows := [][]Cell{Cells("dev", "Failing", "one of four objects could not be applied"), Cells("prod-eu", "Ready", "")}
	for _, c := range []struct {
		reason string
		width  int
		want   string
	}{
		{"nobody watches", 0, "" +
			"  CLUSTER   STATE     MESSAGE\n" +
			"  dev       Failing   one of four objects could not be applied\n" +
			"  prod-eu   Ready     -\n"},
		{"beside the others", 46, "" +
			"  CLUSTER   STATE     MESSAGE\n" +
			"  dev       Failing   one of four objects\n" +
			"                      could not be applied\n" +
			"  prod-eu   Ready     -\n"},
		{"below the others", 40, "" +
			"  CLUSTER   STATE     MESSAGE\n" +
			"  dev       Failing\n" +
			"      one of four objects could not be\n" +
			"      applied\n" +
			"  prod-eu   Ready\n"},
	} {
		var out bytes.Buffer
		table := Table{Headers: []string{"CLUSTER", "STATE", "MESSAGE"}, Indent: "  ", Width: c.width}
		if err := table.Write(&out, rows); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
		for line := range strings.Lines(out.String()) {
			if c.width > 0 && len(line) > c.width+1 {
				t.Errorf("%s: %q is longer than %d", c.reason, line, c.width)
			}
		}
	}
}

// TestNothingBelow: where no row has a text that stands below, neither does the header.
func TestNothingBelow(t *testing.T) {
	var out bytes.Buffer
	table := Table{Headers: []string{"CLUSTER", "STATE", "MESSAGE"}, Width: 20}
	if err := table.Write(&out, [][]Cell{Cells("prod-eu", "Ready", "")}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("CLUSTER   STATE\nprod-eu   Ready\n", out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
