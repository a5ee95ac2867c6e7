package session

import (
	"context"
	"errors"
	"testing"
	"time"

	"umbel.dev/umbel/api/wire"
)

func TestPace(t *testing.T) {
	pace := NewPace(5 * time.Second)
	var leave []func()
	for _, c := range []struct {
		reason   string
		sessions int
		want     time.Duration
	}{
		{"nobody", 0, 5 * time.Second},
		{"as many as are probed as often as it was told to", 5000, 5 * time.Second},
		{"twice as many", 10_000, 10 * time.Second},
		{"few again", 3, 5 * time.Second},
	} {
		for len(leave) < c.sessions {
			leave = append(leave, pace.join())
		}
		for _, out := range leave[c.sessions:] {
			out()
		}
		leave = leave[:c.sessions]
		if got := pace.Interval(); got != c.want {
			t.Errorf("%s: %v, want %v", c.reason, got, c.want)
		}
	}
}

// Among 20,000 agents one is probed every 20 s, and neither end takes that for silence, also one that came when there were
// few.
func TestManyAgentsAreProbedLessOften(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		s.hub.Pace = NewPace(5 * time.Second)
		s.start(ctx)
		time.Sleep(time.Second)
		for range 19_999 {
			s.hub.Pace.join()
		}
		time.Sleep(201 * time.Second)
		s.diary.mu.Lock()
		if s.diary.probes < 9 || s.diary.probes > 13 {
			t.Errorf("%d answers in 200 s, want about ten", s.diary.probes)
		}
		s.diary.mu.Unlock()
		select {
		case err := <-s.hubErr:
			t.Errorf("the hub's end is over: %v", err)
		case err := <-s.agentErr:
			t.Errorf("the agent's end is over: %v", err)
		default:
		}
	})
}

// However many there are, three intervals without an answer are too many.
func TestOneOfManyThatDoesNotAnswer(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		s.hub.Pace = NewPace(5 * time.Second)
		for range 9_999 {
			s.hub.Pace.join()
		}
		block := make(chan struct{})
		defer close(block)
		s.agent.CheckAPI = func(context.Context) (string, error) { <-block; return "", nil }
		start := time.Now()
		go func() { s.agentErr <- RunAgent(ctx, s.agentEnd, s.agent) }()
		err := RunHub(ctx, s.hubEnd, s.hub)
		if took := time.Since(start); !errors.Is(err, ErrProbeTimeout) || took < 30*time.Second || took > 42*time.Second {
			t.Errorf("the hub's end: %v after %v, want three to four intervals of 10 s", err, took)
		}
	})
}

// An agent goes by what the last probe said.
func TestSilentHubOfMany(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		go func() { s.agentErr <- RunAgent(ctx, s.agentEnd, s.agent) }()
		_, reader, err := readHello(s.hubEnd)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for ReadFrame(reader, &wire.FromAgent{}) == nil {
			}
		}()
		for _, message := range []*wire.FromHub{
			{Message: &wire.FromHub_Welcome{Welcome: &wire.Welcome{Protocol: 1, ProbeIntervalMillis: 2000}}},
			{Message: &wire.FromHub_Probe{Probe: &wire.Probe{Nonce: 1, IntervalMillis: 9000}}},
			{Message: &wire.FromHub_Probe{Probe: &wire.Probe{Nonce: 2}}}, // of a hub that does not say
		} {
			if err := WriteFrame(s.hubEnd, message); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		if err := <-s.agentErr; !errors.Is(err, ErrProbeTimeout) {
			t.Errorf("the agent's end: %v", err)
		}
		if took := time.Since(start); took != 27*time.Second {
			t.Errorf("it took %v, want three intervals of 9 s", took)
		}
	})
}
