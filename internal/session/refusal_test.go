package session

import (
	"bufio"
	"context"
	"errors"
	"strings"
	"testing"

	"umbel.dev/umbel/api/wire"
)

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		reason string
		first  *wire.Hello
		want   error
		tells  string
	}{
		{"no common version", &wire.Hello{Protocol: 9, MinProtocol: 8}, ErrNoCommonProtocol, "upgrade the hub"},
		{"a bad package", &wire.Hello{Protocol: 1, Packages: []*wire.PackageStatus{{Package: "x"}}}, ErrBadHello, "NAMESPACE/NAME"},
		{"another message first", nil, ErrBadHello, "first message"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			story(t, func(t *testing.T, ctx context.Context) {
				s := newStage(t)
				go func() { s.hubErr <- RunHub(ctx, s.hubEnd, s.hub) }()
				first := &wire.FromAgent{}
				if c.first != nil {
					first.Message = &wire.FromAgent_Hello{Hello: c.first}
				}
				if err := WriteFrame(s.agentEnd, first); err != nil {
					t.Fatal(err)
				}
				var answer wire.FromHub
				if err := ReadFrame(bufio.NewReader(s.agentEnd), &answer); err != nil {
					t.Fatal(err)
				}
				if got := answer.GetRefusal().GetMessage(); !strings.Contains(got, c.tells) {
					t.Errorf("the agent was told %q, want it to say %q", got, c.tells)
				}
				if err := <-s.hubErr; !errors.Is(err, c.want) {
					t.Errorf("the hub's end: %v, want %v", err, c.want)
				}
				s.heard("a refused session is never opened")
			})
		})
	}
}

func TestAgentHearsRefusal(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		go func() { s.agentErr <- RunAgent(ctx, s.agentEnd, s.agent) }()
		if err := Refuse(s.hubEnd, "CertificateRefused", "it expired; the agent asks for a new one"); err != nil {
			t.Fatal(err)
		}
		err := <-s.agentErr
		var refused *Refused
		if !errors.As(err, &refused) || refused.Reason != "CertificateRefused" {
			t.Errorf("got %v", err)
		}
	})
}

func TestRevokedInSession(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		s.start(ctx)
		s.orders <- &wire.FromHub{Message: &wire.FromHub_Refusal{Refusal: &wire.Refusal{Reason: "CertificateRefused", Message: "revoked"}}}
		for _, end := range []chan error{s.hubErr, s.agentErr} {
			var refused *Refused
			if err := <-end; !errors.As(err, &refused) || refused.Message != "revoked" {
				t.Errorf("got %v", err)
			}
		}
	})
}
