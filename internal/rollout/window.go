package rollout

import (
	"fmt"
	"slices"
	"time"

	// The zones of clusters that are elsewhere are known on a machine that has no database of them.
	_ "time/tzdata"

	"umbel.dev/umbel/api/v1alpha1"
)

// open says whether clusters of a stage may move at this time, and when they may if they do not.
func (p *pass) open(s *v1alpha1.StageStatus, rule v1alpha1.RolloutStage) bool {
	if len(rule.Windows) == 0 {
		return true
	}
	opens := time.Time{}
	for i, window := range rule.Windows {
		w, err := parse(window)
		if err != nil {
			p.waits(v1alpha1.ReasonInvalidWindow, "stage %s: windows[%d]: %s: no cluster moves", s.Name, i, err)
			return false
		}
		if w.open(p.now) {
			return true
		}
		if next := w.next(p.now); opens.IsZero() || next.Before(opens) {
			opens = next
		}
	}
	p.waits(v1alpha1.ReasonOutsideWindow, "stage %s waits for its maintenance window, which opens %s", s.Name, opens.Format("Mon 2006-01-02 15:04 MST"))
	p.within(opens.Sub(p.now))
	return false
}

// days are the days of the week by their names in the API.
var days = []v1alpha1.Weekday{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// window is a MaintenanceWindow that was read. Its times are minutes of the day.
type window struct {
	days     []v1alpha1.Weekday
	from, to int
	zone     *time.Location
}

func parse(w v1alpha1.MaintenanceWindow) (window, error) {
	name := w.TimeZone
	if name == "" {
		name = "UTC"
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return window{}, fmt.Errorf("timeZone: there is no time zone %q: name one of the IANA database, such as Europe/Berlin", name)
	}
	parsed := window{days: w.Days, zone: zone}
	for _, each := range []struct {
		field, text string
		to          *int
	}{{"from", w.From, &parsed.from}, {"to", w.To, &parsed.to}} {
		at, err := time.Parse("15:04", each.text)
		if err != nil {
			return window{}, fmt.Errorf("%s: %q is not a time of the day as HH:MM", each.field, each.text)
		}
		*each.to = at.Hour()*60 + at.Minute()
	}
	return parsed, nil
}

// open says whether a clock on a wall of the zone shows a time in the window. That needs no arithmetic with instants, so
// that an hour that is skipped, or comes twice, is no matter.
func (w window) open(now time.Time) bool {
	local := now.In(w.zone)
	minute := local.Hour()*60 + local.Minute()
	today, yesterday := days[local.Weekday()], days[(local.Weekday()+6)%7]
	begins := func(day v1alpha1.Weekday) bool { return len(w.days) == 0 || slices.Contains(w.days, day) }
	if w.from < w.to {
		return begins(today) && w.from <= minute && minute < w.to
	}
	return begins(today) && minute >= w.from || begins(yesterday) && minute < w.to
}

// next returns when the window opens, which is not now: the first minute in which the clock shows it.
func (w window) next(now time.Time) time.Time {
	local := now.In(w.zone)
	for day := range 9 {
		at := time.Date(local.Year(), local.Month(), local.Day()+day, w.from/60, w.from%60, 0, 0, w.zone)
		// Where the clock is changed around then, it is up to two hours off.
		for early := at.Add(-2 * time.Hour); !early.After(at.Add(2 * time.Hour)); early = early.Add(time.Minute) {
			if early.After(now) && w.open(early) && !w.open(early.Add(-time.Minute)) {
				return early
			}
		}
	}
	return now.Add(24 * time.Hour) // such as 02:30 to 02:45 on the one Sunday on which there is none
}
