package session

import (
	"math/rand/v2"
	"time"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/tunnel"
)

// longestRenewal is the longest pause between two requests for a certificate: a hub that cannot sign for a while is not
// asked more often by the whole fleet, and no agent needs its certificate before it dials again.
const longestRenewal = 5 * time.Minute

// renewal is when an agent asks for its next certificate, and keeps the bundle that the hub sent.
type renewal struct {
	due   *time.Timer
	retry tunnel.Backoff
	// bundle could not be kept, and is tried again when again fires.
	bundle []byte
	again  *time.Timer
}

func (r *renewal) begin(at time.Time, interval time.Duration) {
	r.due = time.NewTimer(max(0, time.Until(at)))
	r.retry = tunnel.Backoff{Min: max(time.Second, interval), Max: longestRenewal}
}

// keep fires when a bundle is to be kept again.
func (r *renewal) keep() <-chan time.Time {
	if r.again == nil {
		return nil
	}
	return r.again.C
}

// requestCertificate asks for a new certificate, and again until one comes. The session goes on whatever the hub says.
func (a *agentEnd) requestCertificate() error {
	csr, err := a.Credentials.Request()
	if err != nil {
		return err
	}
	a.renewal.due.Reset(max(time.Second, a.interval) + a.renewal.retry.Next())
	return a.send(&wire.FromAgent{Message: &wire.FromAgent_CertificateRequest{CertificateRequest: &wire.CertificateRequest{Csr: csr}}})
}

func (a *agentEnd) renewed(issued *wire.CertificateIssued) error {
	before := a.Credentials.Trusts()
	if err := a.Credentials.Install(issued.GetCertificatePem(), issued.GetTrustPem()); err != nil {
		a.Log.Error("the renewed certificate was not kept", "error", err)
		return nil // the timer asks again
	}
	a.renewal.retry.Reset()
	a.renewal.due.Reset(max(0, time.Until(a.Credentials.RenewAt())))
	if a.Credentials.Trusts() == before {
		return nil
	}
	return a.trustHeld()
}

// trust takes up the hub's CAs and, when it is asked to, lets the certificate be renewed sooner than it would be: at a
// moment of its own, since the whole fleet was asked at once.
func (a *agentEnd) trust(bundle *wire.TrustBundle) error {
	a.renewal.bundle = bundle.GetTrustPem()
	if within := time.Duration(bundle.GetRenewWithinMillis()) * time.Millisecond; within > 0 {
		at := time.Duration(rand.Int64N(int64(within)))
		a.renewal.due.Reset(max(0, min(at, time.Until(a.Credentials.RenewAt()))))
	}
	return a.keepTrust()
}

// keepTrust keeps the bundle that came last, and says so. The hub waits for the word of a bundle that outlives the agent.
func (a *agentEnd) keepTrust() error {
	a.renewal.again = nil
	if err := a.Credentials.Trust(a.renewal.bundle); err != nil {
		a.Log.Error("the bundle of the hub's CAs was not kept", "error", err)
		a.renewal.again = time.NewTimer(max(time.Second, a.interval))
		return nil
	}
	return a.trustHeld()
}

func (a *agentEnd) trustHeld() error {
	held := &wire.TrustHeld{Digest: a.Credentials.Trusts()}
	return a.send(&wire.FromAgent{Message: &wire.FromAgent_TrustHeld{TrustHeld: held}})
}
