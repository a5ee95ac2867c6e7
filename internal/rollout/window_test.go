package rollout

import (
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestWindows: a window is what a clock on the wall shows, also when that is changed: in Berlin on 29 March 2026 it skips
// 02:00 to 03:00, and on 25 October 2026 shows them twice.
func TestWindows(t *testing.T) {
	night := v1alpha1.MaintenanceWindow{From: "22:00", To: "04:00", TimeZone: "Europe/Berlin"}
	friday := v1alpha1.MaintenanceWindow{Days: []v1alpha1.Weekday{"Fri"}, From: "22:00", To: "04:00", TimeZone: "Europe/Berlin"}
	skipped := v1alpha1.MaintenanceWindow{From: "02:30", To: "03:30", TimeZone: "Europe/Berlin"}
	never := v1alpha1.MaintenanceWindow{Days: []v1alpha1.Weekday{"Sun"}, From: "02:15", To: "02:45", TimeZone: "Europe/Berlin"}
	utc := v1alpha1.MaintenanceWindow{From: "10:00", To: "10:00"}
	for _, tc := range []struct {
		reason string
		window v1alpha1.MaintenanceWindow
		at     string // UTC
		open   bool
		next   string
	}{
		{"in the evening", night, "2026-01-10T21:00:00Z", true, ""},
		{"a second before", night, "2026-01-10T20:59:59Z", false, "2026-01-10T21:00:00Z"},
		{"after midnight", night, "2026-01-11T02:59:59Z", true, ""},
		{"its end is outside", night, "2026-01-11T03:00:00Z", false, "2026-01-11T21:00:00Z"},
		{"in summer it is an hour earlier in UTC", night, "2026-07-10T20:00:00Z", true, ""},
		{"the night belongs to the day on which it begins", friday, "2026-01-10T02:00:00Z", true, ""},
		{"and Saturday's evening does not", friday, "2026-01-10T21:00:00Z", false, "2026-01-16T21:00:00Z"},
		{"an hour that is skipped shortens it", skipped, "2026-03-29T01:00:00Z", true, ""}, // the clock shows 03:00
		{"it opens with the hour after", skipped, "2026-03-29T00:59:00Z", false, "2026-03-29T01:00:00Z"},
		{"an hour that comes twice: the first time", skipped, "2026-10-25T00:30:00Z", true, ""},
		{"and the second time, after a break of none", skipped, "2026-10-25T01:45:00Z", true, ""},
		{"before it comes again", skipped, "2026-10-25T01:10:00Z", false, "2026-10-25T01:30:00Z"},
		{"one that does not come on that Sunday comes on the next", never, "2026-03-28T12:00:00Z", false, "2026-04-05T00:15:00Z"},
		{"from and to are the same: always", utc, "2026-03-28T09:59:00Z", true, ""},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			w, err := parse(tc.window)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, tc.at)
			if err != nil {
				t.Fatal(err)
			}
			if w.open(at) != tc.open {
				t.Errorf("open: %v", w.open(at))
			}
			if tc.open {
				return
			}
			if next := w.next(at).UTC().Format(time.RFC3339); next != tc.next {
				t.Errorf("opens next %s, want %s", next, tc.next)
			}
		})
	}
}

func FuzzWindow(f *testing.F) {
	f.Add("22:00", "04:00", "Europe/Berlin", int64(1767225600))
	f.Add("02:30", "02:45", "America/New_York", int64(1772953200))
	f.Fuzz(func(t *testing.T, from, to, zone string, at int64) {
		w, err := parse(v1alpha1.MaintenanceWindow{From: from, To: to, TimeZone: zone})
		if err != nil || at < 0 || at > 4e9 {
			return
		}
		now := time.Unix(at, 0)
		if w.open(now) {
			return
		}
		if next := w.next(now); !next.After(now) {
			t.Errorf("it opens %s, and it is %s", next, now)
		}
	})
}
