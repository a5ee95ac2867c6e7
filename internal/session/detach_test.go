package session

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"umbel.dev/umbel/api/wire"
)

func TestDetach(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		tries := 0
		s.agent.Detach = func(_ context.Context, wish *wire.Detach) error {
			if tries++; tries < 3 {
				return errors.New("a namespace does not go away")
			}
			if !wish.GetPrune() {
				t.Error("it was to prune")
			}
			time.Sleep(time.Minute) // pruning takes its time; probes are answered meanwhile
			return nil
		}
		s.start(ctx)
		s.orders <- detach(&wire.Detach{Prune: true})
		time.Sleep(2 * time.Minute)
		s.heard("the agent has let go", "opened with 0 packages", "kubernetes v1.36.3", "detached")
		s.want([]*wire.Assignment{assignment("a/web", "1")})
		s.stored("who leaves is given nothing any more")
		s.orders <- noMember()
		for _, end := range []chan error{s.hubErr, s.agentErr} {
			if err := <-end; refusal(err) != ReasonNoMember {
				t.Errorf("the session went on until the hub ended it with %v", err)
			}
		}
	})
}

func detach(wish *wire.Detach) *wire.FromHub {
	return &wire.FromHub{Message: &wire.FromHub_Detach{Detach: wish}}
}

func noMember() *wire.FromHub {
	return &wire.FromHub{Message: &wire.FromHub_Refusal{Refusal: &wire.Refusal{Reason: ReasonNoMember, Message: "gone"}}}
}

func TestDetachTakesWhatIsBeingStored(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		s.member.slow = 10 * time.Second
		s.desired.Assign = assigned(assignment("a/web", "1"))
		s.agent.Detach = func(context.Context, *wire.Detach) error {
			s.stored("before it lets go", "1 +a/web@1")
			return nil
		}
		s.start(ctx)
		s.orders <- detach(&wire.Detach{})
		time.Sleep(time.Minute)
		s.heard("the end", "opened with 0 packages", "kubernetes v1.36.3", `ack ""`, "detached")
	})
}

// A hub that was started anew, or one that has lost the deletion, does not talk an agent into holding something again.
func TestWhoHasLetGoStoresNothing(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		s.agent.LetGo = true
		s.agent.CheckAPI = func(context.Context) (string, error) { return "", nil }
		s.desired.Assign = assigned(assignment("a/web", "1"))
		s.start(ctx)
		s.stored("it has let go")
		s.heard("the agent refuses", "opened with 0 packages", fmt.Sprintf("ack %q", errLetGo.Error()))
		s.orders <- detach(&wire.Detach{})
		synctest.Wait()
		s.heard("told again, it says so again", "detached")
	})
}
