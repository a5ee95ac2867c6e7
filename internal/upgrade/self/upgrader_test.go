package self

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"umbel.dev/umbel/api/wire"
)

// forbidding is a Host whose records can be written so many times, and no more: a policy of the cluster forbids it. It is not
// a cluster; that of Pod and its API is in pod_test.go.
type forbidding struct {
	record  Record
	writes  int
	tries   int
	rehears int
	fails   error // the rehearsal
}

var errForbidden = errors.New("admission webhook denied the request: deployments are frozen")

func (f *forbidding) Load(context.Context) (Record, error) { return f.record, nil }

func (f *forbidding) Save(_ context.Context, _, next Record) error {
	f.tries++
	if f.writes == 0 {
		return errForbidden
	}
	f.writes--
	f.record = next
	return nil
}

func (f *forbidding) Image(context.Context) (string, error) { return oldImage, nil }

func (f *forbidding) Rehearse(context.Context, Record) error {
	f.rehears++
	return f.fails
}

func (f *forbidding) Arm(context.Context, Record) error { return errForbidden }

// What cannot be written down cannot begin; the hub hears of it at once, and after a while that it has failed.
func TestAnUpgradeThatMayNotBeWrittenDown(t *testing.T) {
	for _, c := range []struct {
		reason  string
		host    forbidding
		tries   int // 0: as many as it likes
		rehears int
		words   string
	}{
		{"nothing may", forbidding{}, maxTries, 0, "nothing was changed, after 12 tries"},
		{"the beginning may, and not that the rehearsal failed", forbidding{writes: 1, fails: errors.New("it is broken")}, 2, 1, "the rehearsal failed, nothing was changed: it is broken"},
		{"all but that there is no guard", forbidding{writes: 2}, 0, 1, "no guard could be made, nothing was changed: " + errForbidden.Error()},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := c.host
				u := New(Config{Host: &host, Build: buildA, Patience: time.Minute, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
				ctx, cancel := context.WithCancel(t.Context())
				over := make(chan error, 1)
				go func() { over <- u.Run(ctx) }()
				u.Order(&wire.Upgrade{Build: buildB, Image: newImage, Attempt: 7})
				synctest.Wait()
				if got := u.State(); c.host.writes == 0 && (got.GetPhase() != wire.UpgradeState_REHEARSING || !strings.Contains(got.GetMessage(), "frozen")) {
					t.Errorf("at first it says %s", got)
				}
				time.Sleep(time.Hour)
				cancel()
				if err := <-over; err != nil {
					t.Error(err)
				}
				got := u.State()
				if got.GetPhase() != wire.UpgradeState_FAILED || got.GetBuild() != buildB || got.GetAttempt() != 7 || !strings.Contains(got.GetMessage(), c.words) {
					t.Errorf("in the end it says %s, want %q", got, c.words)
				}
				if c.tries > 0 && host.tries != c.tries || host.rehears != c.rehears {
					t.Errorf("it wrote %d times and rehearsed %d times, want %d and %d", host.tries, host.rehears, c.tries, c.rehears)
				}
			})
		})
	}
}
