package wire

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

var update = flag.Bool("update", false, "write down the fields that were added")

const fieldsFile = "testdata/fields.txt"

// fields are all fields and values of enumerations of session.proto: what they are called, and after it what an earlier version knows them by.
func fields() (lines []string) {
	var walk func(messages protoreflect.MessageDescriptors)
	enums := func(all protoreflect.EnumDescriptors) {
		for i := range all.Len() {
			for j := range all.Get(i).Values().Len() {
				value := all.Get(i).Values().Get(j)
				lines = append(lines, fmt.Sprintf("%s %d = %s", all.Get(i).FullName(), value.Number(), value.Name()))
			}
		}
	}
	walk = func(messages protoreflect.MessageDescriptors) {
		for i := range messages.Len() {
			message := messages.Get(i)
			for j := range message.Fields().Len() {
				f := message.Fields().Get(j)
				what := f.Kind().String()
				switch {
				case f.Message() != nil:
					what = string(f.Message().FullName())
				case f.Enum() != nil:
					what = string(f.Enum().FullName())
				}
				lines = append(lines, fmt.Sprintf("%s %d = %s %s %s", message.FullName(), f.Number(), f.Cardinality(), what, f.Name()))
			}
			for j := range message.ReservedRanges().Len() {
				for number := message.ReservedRanges().Get(j)[0]; number < message.ReservedRanges().Get(j)[1]; number++ {
					lines = append(lines, fmt.Sprintf("%s %d = reserved", message.FullName(), number))
				}
			}
			enums(message.Enums())
			walk(message.Messages())
		}
	}
	file := File_session_proto
	enums(file.Enums())
	walk(file.Messages())
	slices.Sort(lines)
	return lines
}

// breaches are what an earlier version would read as something else: a number that was something else before, or that was taken out and
// not reserved, so that it will be.
func breaches(before, now []string) (breaches []string) {
	is := map[string]string{}
	for _, line := range now {
		number, what, _ := strings.Cut(line, " = ")
		is[number] = what
	}
	for _, line := range before {
		number, was, _ := strings.Cut(line, " = ")
		switch what, there := is[number]; {
		case !there:
			breaches = append(breaches, fmt.Sprintf("%s was %q and is nothing: `reserved` it", number, was))
		case what != was && what != "reserved":
			breaches = append(breaches, fmt.Sprintf("%s was %q and is %q: take another number", number, was, what))
		}
	}
	return breaches
}

// TestFieldsStay what they were in all versions that hubs and agents run: a number is never used for something else.
func TestFieldsStay(t *testing.T) {
	raw, err := os.ReadFile(fieldsFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	before, now := strings.Split(strings.TrimSpace(string(raw)), "\n"), fields()
	if len(raw) == 0 {
		before = nil
	}
	for _, breach := range breaches(before, now) {
		t.Error(breach)
	}
	if !*update || t.Failed() {
		for _, line := range now {
			if !slices.Contains(before, line) {
				t.Errorf("%s is not written down: `go test ./api/wire -update`, with a word in the history of version.go", line)
			}
		}
		return
	}
	if err := os.WriteFile(fieldsFile, []byte(strings.Join(now, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestBreaches: what is one and what is not.
func TestBreaches(t *testing.T) {
	before := []string{"M 1 = optional string a", "M 2 = optional uint32 b"}
	for _, c := range []struct {
		reason string
		now    []string
		want   int
	}{
		{"the same", before, 0},
		{"one more", append(slices.Clone(before), "M 3 = optional string c"), 0},
		{"one taken out", before[:1], 1},
		{"one taken out and reserved", []string{before[0], "M 2 = reserved"}, 0},
		{"another type", []string{before[0], "M 2 = optional string b"}, 1},
		{"a list of what was one", []string{"M 1 = repeated string a", before[1]}, 1},
		{"two that changed places", []string{"M 2 = optional string a", "M 1 = optional uint32 b"}, 2},
	} {
		if got := breaches(before, c.now); len(got) != c.want {
			t.Errorf("%s: %v", c.reason, got)
		}
	}
}
