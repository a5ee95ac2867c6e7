package session

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

func assignment(pkg, release string) *wire.Assignment {
	return &wire.Assignment{Package: pkg, Release: release, Revision: "rev-" + release, Digest: "sha256:" + release}
}

func holding(release string) Holding {
	return Holding{Release: release, Revision: "rev-" + release, Digest: "sha256:" + release}
}

func assigned(list ...*wire.Assignment) map[v1alpha1.PackageKey]*wire.Assignment {
	m := map[v1alpha1.PackageKey]*wire.Assignment{}
	for _, a := range list {
		m[v1alpha1.PackageKey(a.GetPackage())] = a
	}
	return m
}

func TestDiff(t *testing.T) {
	removing := holding("1")
	removing.Removing = true
	sameContent := assignment("a/web", "2")
	sameContent.Digest = "sha256:1"
	for _, c := range []struct {
		reason  string
		held    Holdings
		desired DesiredSet
		want    *wire.DesiredState
	}{
		{"nothing held, nothing desired", Holdings{}, DesiredSet{}, &wire.DesiredState{}},
		{
			"what the hub does not name stays: absence says nothing",
			Holdings{"a/web": holding("1"), "b/db": holding("1")}, DesiredSet{}, &wire.DesiredState{},
		},
		{
			"a new package", Holdings{"b/db": holding("1")},
			DesiredSet{Assign: assigned(assignment("a/web", "1"), assignment("b/db", "1"))},
			&wire.DesiredState{Assign: []*wire.Assignment{assignment("a/web", "1")}},
		},
		{
			"a new release", Holdings{"a/web": holding("1")},
			DesiredSet{Assign: assigned(assignment("a/web", "2"))},
			&wire.DesiredState{Assign: []*wire.Assignment{assignment("a/web", "2")}},
		},
		{
			"a new release with the same content is told: it names what people see", Holdings{"a/web": holding("1")},
			DesiredSet{Assign: assigned(sameContent)},
			&wire.DesiredState{Assign: []*wire.Assignment{sameContent}},
		},
		{
			"removed by a decision", Holdings{"a/web": holding("1"), "b/db": holding("1")},
			DesiredSet{Remove: []v1alpha1.PackageKey{"b/db", "a/web"}},
			&wire.DesiredState{Remove: []string{"a/web", "b/db"}},
		},
		{"a removal of what is not held", Holdings{}, DesiredSet{Remove: []v1alpha1.PackageKey{"a/web"}}, &wire.DesiredState{}},
		{
			"a removal that is under way", Holdings{"a/web": removing},
			DesiredSet{Remove: []v1alpha1.PackageKey{"a/web"}}, &wire.DesiredState{},
		},
		{
			"wanted again while it is being removed", Holdings{"a/web": removing},
			DesiredSet{Assign: assigned(assignment("a/web", "1"))},
			&wire.DesiredState{Assign: []*wire.Assignment{assignment("a/web", "1")}},
		},
		{
			"named in both: assigned wins, nothing is pruned", Holdings{"a/web": holding("1")},
			DesiredSet{Assign: assigned(assignment("a/web", "1")), Remove: []v1alpha1.PackageKey{"a/web"}}, &wire.DesiredState{},
		},
	} {
		got, differs := Diff(c.held, c.desired)
		if diff := cmp.Diff(c.want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
		if want := len(c.want.GetAssign())+len(c.want.GetRemove()) > 0; differs != want {
			t.Errorf("%s: differs is %v", c.reason, differs)
		}
		c.held.Acknowledge(got)
		if _, differs := Diff(c.held, c.desired); differs {
			t.Errorf("%s: once acknowledged there is still something to tell", c.reason)
		}
	}
}

// An agent that could not store a change may hold a part of it: it is told again, or told to remove it.
func TestARefusedChangeIsInDoubt(t *testing.T) {
	removing := holding("1")
	removing.Removing = true
	change := &wire.DesiredState{Assign: []*wire.Assignment{assignment("a/web", "2"), assignment("b/db", "1")}}
	for _, c := range []struct {
		reason  string
		desired DesiredSet
		want    *wire.DesiredState
	}{
		{"still wanted: all of it again", DesiredSet{Assign: assigned(change.GetAssign()...)}, change},
		{
			"not wanted any more: what may be there goes, also what was on its way out before",
			DesiredSet{Remove: []v1alpha1.PackageKey{"a/web", "b/db"}}, &wire.DesiredState{Remove: []string{"a/web", "b/db"}},
		},
		{"not named any more: it stays", DesiredSet{}, &wire.DesiredState{}},
	} {
		held := Holdings{"a/web": removing}
		held.Doubt(change)
		got, _ := Diff(held, c.desired)
		if diff := cmp.Diff(c.want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}

func TestDiffOfVeryManyComesInParts(t *testing.T) {
	desired := DesiredSet{Assign: map[v1alpha1.PackageKey]*wire.Assignment{}}
	for i := range 5000 {
		a := assignment(fmt.Sprintf("ns/pkg-%d", i), strings.Repeat("x", 100))
		desired.Assign[v1alpha1.PackageKey(a.GetPackage())] = a
	}
	held, rounds := Holdings{}, 0
	for {
		change, differs := Diff(held, desired)
		if !differs {
			break
		}
		rounds++
		held.Acknowledge(change)
	}
	if rounds != 25 || len(held) != 5000 {
		t.Errorf("%d packages in %d rounds, want 5000 in 25", len(held), rounds)
	}
}

func TestNegotiate(t *testing.T) {
	for _, c := range []struct {
		reason                             string
		agentMin, agentMax, hubMin, hubMax uint32
		want                               uint32
		upgrade                            string
	}{
		{"the same", 1, 1, 1, 1, 1, ""},
		{"a newer agent that speaks ours", 1, 2, 1, 1, 1, ""},
		{"an older agent", 1, 2, 2, 3, 2, ""},
		{"an agent that is too old", 1, 1, 2, 3, 0, "upgrade the agent"},
		{"an agent that is too new", 3, 4, 1, 2, 0, "upgrade the hub"},
		{"an agent that says nothing", 0, 0, 1, 1, 0, "upgrade the agent"},
	} {
		got, err := Negotiate(&wire.Hello{MinProtocol: c.agentMin, Protocol: c.agentMax}, c.hubMin, c.hubMax)
		if got != c.want {
			t.Errorf("%s: version %d, want %d", c.reason, got, c.want)
		}
		if c.upgrade != "" && (!errors.Is(err, ErrNoCommonProtocol) || !strings.Contains(err.Error(), c.upgrade)) {
			t.Errorf("%s: got %v, want it to say %q", c.reason, err, c.upgrade)
		}
	}
}

func TestCheckHello(t *testing.T) {
	many := &wire.Hello{Packages: make([]*wire.PackageStatus, MaxPackages+1)}
	for _, c := range []struct {
		reason string
		hello  *wire.Hello
		want   string
	}{
		{"another message", nil, "first message"},
		{"too many packages", many, fmt.Sprint(MaxPackages+1, " packages")},
		{"a name without a namespace", &wire.Hello{Packages: []*wire.PackageStatus{{Package: "web"}}}, `packages[0].package is "web"`},
		{"a fine one", &wire.Hello{Packages: []*wire.PackageStatus{{Package: "shop/web"}}}, ""},
	} {
		err := checkHello(c.hello)
		if c.want == "" && err == nil {
			continue
		}
		if !errors.Is(err, ErrBadHello) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want it to name %q", c.reason, err, c.want)
		}
	}
}

func TestReportsFit(t *testing.T) {
	report := &wire.StatusReport{Removed: []string{"a/gone"}, KubernetesVersion: "v1.36.3"}
	for i := range 100 {
		report.Packages = append(report.Packages, &wire.PackageStatus{Package: fmt.Sprintf("a/p-%d", i), Message: strings.Repeat("x", 200_000)})
	}
	report.Packages = append(report.Packages, &wire.PackageStatus{Package: "a/huge", Message: strings.Repeat("x", 2*MaxFrame)})
	var packages, removed int
	for _, part := range parts(report) {
		packages, removed = packages+len(part.GetPackages()), removed+len(part.GetRemoved())
		if err := WriteFrame(io.Discard, part); err != nil {
			t.Error(err)
		}
	}
	if packages != 101 || removed != 1 {
		t.Errorf("%d packages and %d removals arrived, want 101 and 1", packages, removed)
	}
}

func TestHelloFits(t *testing.T) {
	packages := make([]*wire.PackageStatus, MaxPackages)
	for i := range packages {
		packages[i] = &wire.PackageStatus{
			Package: fmt.Sprintf("namespace/package-%d", i), Release: "package-0123abcd", Revision: strings.Repeat("a", 40),
			Digest: "sha256:" + strings.Repeat("b", 64), Message: strings.Repeat("why ", 200),
		}
	}
	var out strings.Builder
	if err := WriteFrame(&out, &wire.FromAgent{Message: &wire.FromAgent_Hello{Hello: &wire.Hello{Packages: fit(packages)}}}); err != nil {
		t.Error(err)
	}
}
