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

// sendReport sends a report in as many frames as it takes.
func (a *agentEnd) sendReport(report *wire.StatusReport) error {
	for _, part := range parts(report) {
		if err := a.send(&wire.FromAgent{Message: &wire.FromAgent_Status{Status: part}}); err != nil {
			return err
		}
	}
	return nil
}

// parts splits a report so that each part fits into a frame.
func parts(report *wire.StatusReport) []*wire.StatusReport {
	n := len(report.GetPackages())
	if proto.Size(report) <= room {
		return []*wire.StatusReport{report}
	}
	if n <= 1 {
		return []*wire.StatusReport{{Packages: fit(report.GetPackages()), Removed: report.GetRemoved(),
			KubernetesVersion: report.GetKubernetesVersion(), Properties: report.GetProperties()}}
	}
	first := &wire.StatusReport{Packages: report.Packages[:n/2], Removed: report.GetRemoved(),
		KubernetesVersion: report.GetKubernetesVersion(), Properties: report.GetProperties()}
	return append(parts(first), parts(&wire.StatusReport{Packages: report.Packages[n/2:]})...)
}
