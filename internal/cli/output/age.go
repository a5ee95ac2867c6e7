package output

import (
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
)

// Age returns how long ago t was, as 4m or 2d3h, or nothing when t is not known. A clock that is ahead makes it 0s.
func Age(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return duration.HumanDuration(max(0, now.Sub(t)))
}

// Ago returns "4m ago", or nothing when t is not known.
func Ago(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return Age(t, now) + " ago"
}

// Until returns "in 23h" or "4m ago", or nothing when t is not known.
func Until(t, now time.Time) string {
	if t.After(now) {
		return "in " + duration.HumanDuration(t.Sub(now))
	}
	return Ago(t, now)
}
