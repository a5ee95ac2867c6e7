package session

import (
	"google.golang.org/protobuf/proto"

	"umbel.dev/umbel/api/wire"
)

// Properties are the ClusterProperties of the member. profile/about implements it.
type Properties interface {
	// Changed holds a token when Read may have another answer.
	Changed() <-chan struct{}
	// Read returns those that the hub is to know, in the order of their names, or nil as long as they are not known. It
	// does not block, and what it returned is never written to.
	Read() *wire.ClusterProperties
}

func (a *agentEnd) propertiesChanged() <-chan struct{} {
	if a.Properties == nil {
		return nil
	}
	return a.Properties.Changed()
}

// withProperties puts the member's properties into a report, when they are not as the hub was told last in this session.
func (a *agentEnd) withProperties(report *wire.StatusReport) *wire.StatusReport {
	if a.Properties == nil {
		return report
	}
	now := a.Properties.Read()
	if now == nil || a.reports.properties != nil && proto.Equal(now, a.reports.properties) {
		return report
	}
	if report == nil {
		report = &wire.StatusReport{}
	}
	report.Properties, a.reports.properties = now, now
	return report
}

// sendReport sends a report, or, of a large one, its first part; the rest waits for its turns, so that the answer to a probe
// need not wait for all of it.
func (a *agentEnd) sendReport(report *wire.StatusReport) error {
	a.reports.waiting = append(a.reports.waiting, parts(report)...)
	return a.sendPart()
}

// sendPart sends a part of a report that waits.
func (a *agentEnd) sendPart() error {
	part := a.reports.waiting[0]
	a.reports.waiting = a.reports.waiting[1:]
	if len(a.reports.waiting) == 0 {
		a.reports.waiting = nil
	}
	return a.send(&wire.FromAgent{Message: &wire.FromAgent_Status{Status: part}})
}

// tellOn sends the next part of a report that waits, and after the last one what has changed meanwhile.
func (a *agentEnd) tellOn() error {
	if err := a.sendPart(); err != nil || a.reports.waiting != nil {
		return err
	}
	return a.report()
}

// partWaits is a channel that one can receive from when a part of a report waits, and no answer to a probe does: that one
// goes first.
func (a *agentEnd) partWaits() <-chan struct{} {
	if len(a.reports.waiting) == 0 || a.probe.checking {
		return nil
	}
	return always
}

// always can be received from.
var always = func() <-chan struct{} {
	closed := make(chan struct{})
	close(closed)
	return closed
}()

// parts splits a report so that each part is small, or at least fits into a frame.
func parts(report *wire.StatusReport) []*wire.StatusReport {
	n := len(report.GetPackages())
	if size := proto.Size(report); size <= goal || n <= 1 && size <= room {
		return []*wire.StatusReport{report}
	}
	if n <= 1 {
		return []*wire.StatusReport{{Packages: fit(report.GetPackages()), Removed: report.GetRemoved(),
			KubernetesVersion: report.GetKubernetesVersion(), Properties: report.GetProperties(), Deletions: report.GetDeletions()}}
	}
	first := &wire.StatusReport{Packages: report.Packages[:n/2], Removed: report.GetRemoved(),
		KubernetesVersion: report.GetKubernetesVersion(), Properties: report.GetProperties(), Deletions: report.GetDeletions()}
	return append(parts(first), parts(&wire.StatusReport{Packages: report.Packages[n/2:]})...)
}
