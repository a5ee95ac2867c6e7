package snapshot

import (
	"fmt"
	"testing"
	"time"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestDue(t *testing.T) {
	for _, c := range []struct {
		reason, schedule, last string
		offset                 time.Duration
		want                   string
	}{
		{"the next hour", "@hourly", "2026-11-27 10:00:03", 0, "2026-11-27 11:00:00"},
		{"a while after it", "@hourly", "2026-11-27 10:04:00", 4 * time.Minute, "2026-11-27 11:04:00"},
		{"one that was taken by hand before the offset was over is no reason to leave the hour out", "@hourly", "2026-11-27 11:01:00", 4 * time.Minute, "2026-11-27 11:04:00"},
		{"missed for a day: due once, at the first of them", "0 */6 * * *", "2026-11-26 06:00:01", 0, "2026-11-26 12:00:00"},
		{"in UTC, whatever the place", "30 2 * * *", "2026-03-29 00:00:00", 0, "2026-03-29 02:30:00"},
	} {
		schedule, err := ParseSchedule(c.schedule)
		if err != nil {
			t.Fatal(err)
		}
		last := at(c.last).In(time.FixedZone("elsewhere", 7200))
		if got := Due(schedule, last, c.offset); !got.Equal(at(c.want)) {
			t.Errorf("%s: got %s, want %s", c.reason, got, c.want)
		}
	}
}

func TestParseScheduleRefuses(t *testing.T) {
	for _, text := range []string{"", "now", "* * * *", "61 * * * *", "0 0 0 * * *", "CRON_TZ=Europe/Berlin 0 * * * *", "TZ=UTC @daily"} {
		if _, err := ParseSchedule(text); err == nil {
			t.Errorf("%q is a schedule", text)
		}
	}
}

func TestOffset(t *testing.T) {
	const jitter = 10 * time.Minute
	halves := [2]int{}
	for i := range 200 {
		id := fmt.Sprint("uid-", i)
		got := Offset(id, jitter)
		if got != Offset(id, jitter) || got < 0 || got >= jitter {
			t.Fatalf("%s has %s", id, got)
		}
		halves[got/(jitter/2)]++
	}
	if min(halves[0], halves[1]) < 60 {
		t.Errorf("they are not spread: %v", halves)
	}
	if Offset("a", 0) != 0 {
		t.Error("without jitter there is an offset")
	}
}

func TestSurplus(t *testing.T) {
	var all []Snapshot
	for _, hour := range []int{3, 1, 2} {
		all = append(all, Snapshot{Name: NameOf(at("2026-11-27 00:00:00").Add(time.Duration(hour) * time.Hour))})
	}
	for retain, want := range map[int]string{0: "[20261127-020000 20261127-010000]", 1: "[20261127-020000 20261127-010000]", 2: "[20261127-010000]", 3: "[]", 9: "[]"} {
		names := []string{}
		for _, s := range Surplus(all, retain) {
			names = append(names, s.Name)
		}
		if got := fmt.Sprint(names); got != want {
			t.Errorf("of three, %d to be kept: %s are too many, want %s", retain, got, want)
		}
	}
}

func TestChoose(t *testing.T) {
	all := []Snapshot{{Name: "20261127-010000"}, {Name: "20261127-030000"}}
	if s, err := Choose(all, ""); err != nil || s.Name != "20261127-030000" {
		t.Errorf("the newest is %v, %v", s, err)
	}
	if s, err := Choose(all, "20261127-010000"); err != nil || s.Name != "20261127-010000" {
		t.Errorf("got %v, %v", s, err)
	}
	if _, err := Choose(all, "20261127-020000"); err == nil {
		t.Error("there is one that is not there")
	}
	if _, err := Choose(nil, ""); err == nil {
		t.Error("there is one of none")
	}
}
