package members

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/session"
)

// heard returns what a hub knows of a member that reports these packages, one by one.
func heard(packages ...*wire.PackageStatus) Facts {
	registry := NewRegistry(RegistryConfig{
		Replicas: crew{},
		Desired:  func(v1alpha1.ClusterName) (session.DesiredSet, bool) { return session.DesiredSet{}, true },
		Now:      func() time.Time { return start }, Log: slog.New(slog.DiscardHandler),
	})
	p := registry.Begin(Session{Cluster: "prod-eu", UID: "1", End: func(error) {}})
	p.Opened(&wire.Hello{})
	p.Answered("")
	for _, s := range packages {
		p.Reported(&wire.StatusReport{Packages: []*wire.PackageStatus{s}})
	}
	return registry.snapshot("prod-eu")
}

func jsonSize(t *testing.T, of any) int {
	t.Helper()
	raw, err := json.Marshal(of)
	if err != nil {
		t.Fatal(err)
	}
	return len(raw)
}

func TestWhatAMemberSaysIsBounded(t *testing.T) {
	long := strings.Repeat("ä", 100_000)
	p := &wire.PackageStatus{Package: "a/web", Message: long + "\xff", Release: long, Phase: 99, LastRepair: &wire.LastRepair{Object: long, Cause: long}}
	for range 1000 {
		p.Failures = append(p.Failures, &wire.Failure{Object: long, File: long, Message: long})
	}
	p.ProtoReflect().SetUnknown([]byte("\xfa\x7f\x01x"))
	status, _ := Plan(joinedMember(), heard(p), known(), at(time.Hour))
	got := status.Packages[0]
	if len(got.Failures) != maxFailures || len(got.Message) > maxMessage || got.Phase != v1alpha1.PackageApplying {
		t.Errorf("%d failures, a message of %d bytes, phase %q", len(got.Failures), len(got.Message), got.Phase)
	}
	if size := jsonSize(t, got); size > 40_000 {
		t.Errorf("one package takes %d bytes", size)
	}
	if kept := heard(p).Packages["a/web"]; len(kept.ProtoReflect().GetUnknown()) != 0 {
		t.Error("the hub keeps what it does not know")
	}
}

// evil is an agent that reports as many packages as it likes, with texts as long as a frame takes.
func evil(packages int) (all []*wire.PackageStatus) {
	text := strings.Repeat("\x01", 1<<20) // each byte of it takes six in JSON
	for i := range packages {
		all = append(all, &wire.PackageStatus{
			Package: fmt.Sprintf("evil/%0300d", i), Release: text, Revision: text, Digest: text, Phase: wire.PackageStatus_FAILED, Message: text,
			Failures: []*wire.Failure{{Object: text, File: text, Message: text}}, LastRepair: &wire.LastRepair{Object: text, Cause: text},
		})
	}
	return all
}

func TestDriftsOfManyPackagesShareTheRoom(t *testing.T) {
	drifting := func(packages int) (all []*wire.PackageStatus) {
		for i := range packages {
			p := &wire.PackageStatus{Package: fmt.Sprintf("shop/p%03d", i), Release: "1", Phase: wire.PackageStatus_APPLIED}
			for j := range v1alpha1.MaxDrifts {
				p.Drifts = append(p.Drifts, &wire.Drift{Object: fmt.Sprintf("ConfigMap shop/c%d", j), Action: wire.Drift_REPAIRED, Time: start.Unix() - int64(j)})
			}
			all = append(all, p)
		}
		return all
	}
	for packages, each := range map[int]int{1: 10, 10: 10, 11: 9, 50: 2, 100: 1, 300: 1} {
		status, _ := Plan(joinedMember(), heard(drifting(packages)...), known(), at(time.Hour))
		for _, p := range status.Packages {
			if len(p.Drifts) != each || p.Drifts[0].Object != "ConfigMap shop/c0" {
				t.Errorf("of %d packages that drift, %s tells of %d drifts, not of the latest %d", packages, p.Package, len(p.Drifts), each)
			}
		}
	}
}

func TestAnEvilAgentFillsNeitherMemoryNorTheStatus(t *testing.T) {
	facts := heard(evil(10_000)...)
	kept := 0
	for _, p := range facts.Packages {
		kept += details(p)
	}
	if kept > maxDetails || kept != facts.details || len(facts.Packages) > session.MaxPackages {
		t.Errorf("the hub keeps %d packages with %d bytes of details, by its own count %d", len(facts.Packages), kept, facts.details)
	}
	for _, p := range facts.Packages {
		facts.drop(v1alpha1.PackageKey(p.GetPackage()))
	}
	if facts.details != 0 {
		t.Errorf("without packages there are details of %d bytes", facts.details)
	}

	member := joinedMember()
	facts, desired := heard(evil(10_000)...), known("shop/web@1")
	for range 3 {
		status, _ := Plan(member, facts, desired, at(time.Hour))
		if size := jsonSize(t, status); size > maxPackages+8<<10 {
			t.Errorf("the status takes %d bytes", size)
		}
		if len(status.Packages) < 500 {
			t.Errorf("it names %d packages, and has room for more", len(status.Packages))
		}
		if !names(status, "shop/web") {
			t.Error("it does not name the package that the member is to hold")
		}
		if got := show(status); !strings.Contains(got, "False/PackageFailed False/PackageFailed") {
			t.Errorf("nobody sees it: %s", got)
		}
		if !equality.Semantic.DeepEqual(member.Status, status) && len(member.Status.Packages) > 0 {
			t.Errorf("it would be written again and again:\n%s", cmp.Diff(member.Status, status))
		}
		member.Status = status
	}
	// What was listed stays, whatever the hub wants besides: the agent may hold it.
	more := known("shop/web@1")
	for i := range 3000 {
		name := fmt.Sprintf("aaa/%04d", i)
		more.Set.Assign[v1alpha1.PackageKey(name)] = &wire.Assignment{Package: name, Release: "1"}
	}
	status, _ := Plan(member, facts, more, at(2*time.Hour))
	for _, p := range member.Status.Packages {
		if !names(status, p.Package) {
			t.Errorf("%.20s… was listed, and is not any more", p.Package)
			break
		}
	}
	if size := jsonSize(t, status); size > maxPackages+8<<10 {
		t.Errorf("the status takes %d bytes", size)
	}
}

func names(status v1alpha1.MemberClusterStatus, key v1alpha1.PackageKey) bool {
	for _, p := range status.Packages {
		if p.Package == key {
			return true
		}
	}
	return false
}

// A member with much to say says the most important of it: details go before packages, failures before messages.
func TestDetailsGoFirst(t *testing.T) {
	text := strings.Repeat("x", 500)
	report := func(packages, failures int) v1alpha1.MemberClusterStatus {
		t.Helper()
		var all []*wire.PackageStatus
		for i := range packages {
			p := &wire.PackageStatus{
				Package: fmt.Sprintf("shop/p-%04d", i), Release: fmt.Sprintf("p-%04d-1", i), Digest: "sha256:" + strings.Repeat("0", 64),
				Phase: wire.PackageStatus_FAILED, Message: text[:200],
			}
			for range failures {
				p.Failures = append(p.Failures, &wire.Failure{Object: text, File: text, Message: text})
			}
			all = append(all, p)
		}
		facts := heard()
		for _, p := range all {
			facts.Packages[v1alpha1.PackageKey(p.GetPackage())] = p // whatever was heard
		}
		status, _ := Plan(joinedMember(), facts, known(), at(time.Hour))
		if size := jsonSize(t, status.Packages); size > maxPackages {
			t.Errorf("%d packages with %d failures take %d bytes", packages, failures, size)
		}
		if len(status.Packages) != packages {
			t.Errorf("of %d packages %d are listed", packages, len(status.Packages))
		}
		return status
	}
	for _, c := range []struct {
		reason             string
		packages, failures int
		want               string
	}{
		{"little", 20, 10, "10 failures, a message of 200 bytes, with its digest, with its release"},
		{"more", 80, 10, "3 failures, a message of 200 bytes, with its digest, with its release"},
		{"many packages", 200, 10, "1 failures, a message of 200 bytes, with its digest, with its release"},
		{"very many", 1000, 10, "0 failures, a message of 200 bytes, with its digest, with its release"},
		{"too many for messages", 1400, 1, "0 failures, a message of 128 bytes, with its digest, with its release"},
		{"far too many for messages", 2000, 1, "0 failures, a message of 0 bytes, with its digest, with its release"},
		{"too many for digests", 2800, 1, "0 failures, a message of 0 bytes, no digest, with its release"},
	} {
		p := report(c.packages, c.failures).Packages[0]
		with := map[bool]string{true: "with its", false: "no"}
		got := fmt.Sprintf("%d failures, a message of %d bytes, %s digest, %s release", len(p.Failures), len(p.Message), with[p.Digest != ""], with[p.Release != ""])
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.reason, got, c.want)
		}
	}
}
