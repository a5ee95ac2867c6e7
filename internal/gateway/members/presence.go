package members

import (
	"context"
	"errors"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/session"
)

// Session is what a Presence needs of a session.
type Session struct {
	// ID tells the session from all others.
	ID      string
	Cluster v1alpha1.ClusterName
	// UID of the MemberCluster whose agent it is.
	UID types.UID
	// Fingerprint of the key that the agent has proved.
	Fingerprint string
	// Profile is what the agent is to measure.
	Profile v1alpha1.MetricsProfile
	// Level is how far it is to go.
	Level v1alpha1.Level
	// End ends the session for a reason.
	End context.CancelCauseFunc
	// Kube reaches the member's API server.
	Kube http.RoundTripper
}

// Presence is one session of a member: it hears what happens in it. It implements session.Observer.
type Presence struct {
	Session

	registry *Registry
	orders   chan *wire.FromHub // has room for all that there may be: one Detach and one Refusal
	listed   chan struct{}
	upgrade  chan *wire.Upgrade // has room for one, the latest
	measures chan struct{}

	// Guarded by the registry's lock.
	seen      time.Time // when the last probe came back
	detaching bool      // the agent was told to go
}

var _ session.Observer = (*Presence)(nil)

// Orders carries what the session is to tell the agent; see session.HubConfig.
func (p *Presence) Orders() <-chan *wire.FromHub { return p.orders }

// Upgrade carries what the agent is to run; see session.HubConfig.
func (p *Presence) Upgrade() <-chan *wire.Upgrade { return p.upgrade }

// Metrics returns what the agent is to measure; see session.HubConfig.
func (p *Presence) Metrics() string {
	p.registry.mu.Lock()
	defer p.registry.mu.Unlock()
	rec := p.registry.members[p.Cluster]
	if rec == nil || rec.presence != p {
		return string(p.Profile)
	}
	return string(rec.profile)
}

// Stands returns how far the agent is to go; see session.HubConfig.
func (p *Presence) Stands() string {
	p.registry.mu.Lock()
	defer p.registry.mu.Unlock()
	rec := p.registry.members[p.Cluster]
	if rec == nil || rec.presence != p {
		return string(p.Level)
	}
	return string(rec.level)
}

// Measures holds a token when Metrics or Stands has another answer.
func (p *Presence) Measures() <-chan struct{} { return p.measures }

// order has the session tell the agent what it is to run, instead of what it was to be told before. The caller holds the
// registry's lock.
func (p *Presence) order(program *v1alpha1.AgentProgram) {
	select {
	case <-p.upgrade:
	default:
	}
	if program != nil {
		p.upgrade <- &wire.Upgrade{Build: program.Build, Image: program.Image, Attempt: program.Attempt}
	}
}

// hear changes what is known, unless a newer session has taken over, and has it written.
func (p *Presence) hear(change func(*Facts) news) {
	p.registry.mu.Lock()
	rec := p.registry.members[p.Cluster]
	if rec == nil || rec.presence != p {
		p.registry.mu.Unlock()
		return
	}
	var pause time.Duration
	heard := change(&rec.facts)
	if heard != nothing {
		pause = p.registry.pause(rec, heard)
	}
	p.registry.mu.Unlock()
	if heard != nothing {
		p.registry.poke(p.Cluster, pause)
	}
}

// Opened implements session.Observer.
func (p *Presence) Opened(hello *wire.Hello) {
	p.hear(func(f *Facts) news {
		f.InSession, f.Answered, f.Lost, f.Refused, f.NotStored = true, false, nil, nil, ""
		f.Session, f.Claimed = p.ID, false
		f.AgentVersion, f.Trusts = clip(hello.GetAgentVersion(), maxVersion), clip(hello.GetTrust(), maxVersion)
		if v := hello.GetKubernetesVersion(); v != "" {
			f.KubernetesVersion = clip(v, maxVersion)
		}
		f.Features = featuresOf(hello)
		f.Agent = v1alpha1.MemberAgent{
			Build: clip(hello.GetBuild(), maxVersion), Image: clip(hello.GetImage(), maxImage), Upgrade: upgradeOf(hello.GetUpgrade()),
		}
		f.Heard, f.details, f.Packages = true, 0, make(map[v1alpha1.PackageKey]*wire.PackageStatus, len(hello.GetPackages()))
		for _, s := range hello.GetPackages() {
			f.hold(s)
		}
		return lasting
	})
}

// Answered implements session.Observer.
func (p *Presence) Answered(apiError string) {
	p.hear(func(f *Facts) news {
		p.seen = p.registry.config.Now()
		changed := !f.Answered || (f.APIError == "") != (apiError == "")
		f.Answered, f.APIError = true, clip(apiError, maxMessage)
		return lastingIf(changed)
	})
}

// Reported implements session.Observer.
func (p *Presence) Reported(report *wire.StatusReport) {
	p.hear(func(f *Facts) news {
		for _, name := range report.GetRemoved() {
			f.drop(v1alpha1.PackageKey(name))
		}
		for _, s := range report.GetPackages() {
			key := v1alpha1.PackageKey(s.GetPackage())
			if _, known := f.Packages[key]; known || len(f.Packages) < session.MaxPackages {
				f.hold(s)
			}
		}
		if v := report.GetKubernetesVersion(); v != "" {
			f.KubernetesVersion = clip(v, maxVersion)
		}
		if said := report.GetProperties(); said != nil {
			f.Properties = boundedProperties(said.GetItems())
		}
		if said := report.GetDeletions(); said != nil {
			f.Deletions = deletionsHeard(said)
		}
		if underWay(report) {
			return passing
		}
		return lasting
	})
}

// Acknowledged implements session.Observer.
func (p *Presence) Acknowledged(change *wire.DesiredState, problem string) {
	p.hear(func(f *Facts) news {
		for _, a := range change.GetAssign() {
			if key := v1alpha1.PackageKey(a.GetPackage()); f.Packages[key] == nil {
				f.hold(awaited(a))
			}
		}
		before := f.NotStored
		f.NotStored = clip(problem, maxMessage)
		return lastingIf(f.NotStored != before)
	})
}

// Upgrading implements session.Observer.
func (p *Presence) Upgrading(state *wire.UpgradeState) {
	p.hear(func(f *Facts) news {
		before := f.Agent.Upgrade
		f.Agent.Upgrade = upgradeOf(state)
		return lastingIf(!equality.Semantic.DeepEqual(f.Agent.Upgrade, before))
	})
}

// Detached implements session.Observer. It counts from an agent that was told to go.
func (p *Presence) Detached() {
	p.hear(func(f *Facts) news {
		changed := p.detaching && !f.Detached
		f.Detached = f.Detached || p.detaching
		return lastingIf(changed)
	})
}

// Presented tells which CA issued the certificate that the agent came with, by its fingerprint.
func (p *Presence) Presented(issuer string) {
	p.hear(func(f *Facts) news {
		f.Paper.Issuer = issuer
		return nothing // Opened is
	})
}

// Renewed tells that a certificate was issued. That alone is not written: it happens to every member every few hours, and is
// written with what happens next, such as the end of the session.
func (p *Presence) Renewed(paper Paper) {
	p.hear(func(f *Facts) news {
		before := f.Paper.Issuer
		f.Paper = paper
		return lastingIf(f.Paper.Issuer != before)
	})
}

// Trusts implements session.Observer.
func (p *Presence) Trusts(digest string) {
	p.hear(func(f *Facts) news {
		before := f.Trusts
		f.Trusts = clip(digest, maxVersion)
		return lastingIf(f.Trusts != before)
	})
}

// Over ends the presence: err is what the session ended with.
func (p *Presence) Over(err error) {
	p.hear(func(f *Facts) news {
		reason := v1alpha1.ReasonSessionClosed
		if errors.Is(err, session.ErrProbeTimeout) {
			reason = v1alpha1.ReasonProbeTimeout
		}
		if errors.Is(err, session.ErrNoCommonProtocol) {
			f.Refused = &Refusal{Reason: v1alpha1.ReasonProtocolMismatch, Message: err.Error()}
		}
		if errors.Is(err, session.ErrSuperseded) {
			f.Refused = &Refusal{Reason: v1alpha1.ReasonHubSuperseded, Message: session.ErrSuperseded.Error()}
		}
		if f.InSession {
			f.Lost = &Loss{Reason: reason, At: p.registry.config.Now(), LastSeen: p.seen}
		}
		f.InSession, f.Answered = false, false
		p.registry.members[p.Cluster].presence = nil
		return lasting
	})
}
