package members

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/session"
)

// FuzzWhatAMemberReports has a member report anything, packages that its session has let through. Its status stays one that
// the API takes, and comes out the same when it is planned again.
func FuzzWhatAMemberReports(f *testing.F) {
	for _, r := range []*wire.StatusReport{
		{Packages: []*wire.PackageStatus{{Package: "a/web", Release: "1", Phase: wire.PackageStatus_FAILED, Message: "m", Failures: []*wire.Failure{{Object: "o", File: "f", Message: "m"}}, LastRepair: &wire.LastRepair{Object: "o", Cause: "c"}}}},
		{Removed: []string{"a/web"}, KubernetesVersion: "v1.36.3"},
		{Properties: &wire.ClusterProperties{Items: []*wire.ClusterProperty{{Name: "cluster.clusterset.k8s.io", Value: "prod-eu"}, {Name: "", Value: "x"}}}},
		{Packages: []*wire.PackageStatus{{Package: "a/web", Objects: -1, Applied: 1 << 30, Healthy: -5, Repairs: -1, Phase: 99}}},
	} {
		raw, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		report := &wire.StatusReport{}
		if proto.Unmarshal(raw, report) != nil {
			return
		}
		for _, p := range report.GetPackages() {
			if ns, name := v1alpha1.PackageKey(p.GetPackage()).Split(); ns == "" || name == "" {
				return // which ends the session
			}
		}
		registry := NewRegistry(RegistryConfig{
			Replicas: crew{},
			Desired:  func(v1alpha1.ClusterName) (session.DesiredSet, bool) { return known("a/web@2").Set, true },
			Now:      func() time.Time { return start }, Log: slog.New(slog.DiscardHandler),
		})
		p := registry.Begin(Session{Cluster: "prod-eu", UID: "1", End: func(error) {}})
		p.Opened(&wire.Hello{})
		p.Answered("")
		p.Reported(report)
		p.Reported(report)
		member := joinedMember()
		status, _ := Plan(member, registry.snapshot("prod-eu"), known("a/web@2"), at(time.Hour))
		text, err := json.Marshal(status)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > maxPackages+64<<10 {
			t.Errorf("a status of %d bytes", len(text))
		}
		var back v1alpha1.MemberClusterStatus
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		member.Status = back
		again, _ := Plan(member, registry.snapshot("prod-eu"), known("a/web@2"), at(time.Hour))
		if text2, err := json.Marshal(again); err != nil || string(text2) != string(text) {
			t.Errorf("planned again it is another one, %v:\n%s\n%s", err, text, text2)
		}
	})
}
