package process

import (
	"strings"
	"testing"
	"time"
)

func TestNextDelay(t *testing.T) {
	for _, c := range []struct {
		reason   string
		previous time.Duration
		uptime   time.Duration
		want     time.Duration
	}{
		{"the first failure waits shortly", 0, time.Second, 100 * time.Millisecond},
		{"the next doubles", 100 * time.Millisecond, time.Second, 200 * time.Millisecond},
		{"up to ten seconds", 8 * time.Second, time.Second, 10 * time.Second},
		{"and no further", 10 * time.Second, time.Second, 10 * time.Second},
		{"a life of half a minute forgets", 10 * time.Second, 30 * time.Second, 100 * time.Millisecond},
	} {
		if got := nextDelay(c.previous, c.uptime); got != c.want {
			t.Errorf("%s: nextDelay(%s, %s) = %s, want %s", c.reason, c.previous, c.uptime, got, c.want)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		reason    string
		processes []Process
		want      string // part of the error; empty for none
	}{
		{"an order that can be kept", []Process{{Name: "a", Path: "/a"}, {Name: "b", Path: "/b", After: []string{"a"}}}, ""},
		{"no path", []Process{{Name: "a"}}, `process 0 ("a"): name and path are required`},
		{"twice the same", []Process{{Name: "a", Path: "/a"}, {Name: "a", Path: "/a"}}, `"a" is listed twice`},
		{"after one that comes later", []Process{{Name: "a", Path: "/a", After: []string{"b"}}, {Name: "b", Path: "/b"}}, `"a" starts after "b"`},
	} {
		err := validate(c.processes)
		if got := errorText(err); !strings.Contains(got, c.want) || (c.want == "") != (err == nil) {
			t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
