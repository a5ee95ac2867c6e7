package variable

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

var eu = Cluster{
	Name:       "eu",
	Labels:     map[string]string{"env": "prod", "region": "eu", "tier": "", "topology.kubernetes.io/zone": "a"},
	Properties: map[string]string{"cluster.clusterset.k8s.io": "fleet", "empty": ""},
}

func TestValue(t *testing.T) {
	for _, tc := range []struct {
		variable, want string
		lacks          bool
	}{
		{variable: "cluster.name", want: "eu"},
		{variable: "cluster.labels.env", want: "prod"},
		{variable: "cluster.labels.topology.kubernetes.io/zone", want: "a"},
		{variable: "cluster.labels.tier", want: ""},
		{variable: "cluster.labels.tier:-gold", want: "gold"},
		{variable: "cluster.labels.env:-dev", want: "prod"},
		{variable: "cluster.labels.none", lacks: true},
		{variable: "cluster.labels.none:-", want: ""},
		{variable: "cluster.labels.none:-a:-b", want: "a:-b"},
		{variable: "cluster.properties.cluster.clusterset.k8s.io", want: "fleet"},
		{variable: "cluster.properties.empty:-x", want: "x"},
		{variable: "cluster.properties.env", lacks: true},
		{variable: "cluster.matches(env=prod)", want: "true"},
		{variable: "cluster.matches(env=prod,!gpu)", want: "true"},
		{variable: "cluster.matches(env in (dev,test))", want: "false"},
		{variable: "cluster.matches(env notin (dev,test),region)", want: "true"},
		{variable: "cluster.matches(tier=)", want: "true"},
		{variable: "cluster.named(eu,us)", want: "true"},
		{variable: "cluster.named(e,u,eus)", want: "false"},
		{variable: "if cluster.matches(env=prod) cluster.labels.region", want: "eu"},
		{variable: "if cluster.matches(env in (dev,test)) cluster.labels.none", want: ""},
		{variable: "if cluster.matches(env in (dev,prod)) cluster.labels.none", lacks: true},
		{variable: "if cluster.named(eu) cluster.labels.none:-a) b", want: "a) b"},
		{variable: "if cluster.matches(env=prod)", lacks: true},
		{variable: "cluster.region", lacks: true},
		{variable: "", lacks: true},
	} {
		got, has := Value(tc.variable, eu)
		if got != tc.want || has == tc.lacks {
			t.Errorf("%s: got %q, %t; want %q, %t", tc.variable, got, has, tc.want, !tc.lacks)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, good := range []string{
		"cluster.name", "cluster.labels.env", "cluster.labels.example.org/tier:-a b", "cluster.properties.a.example.org", "cluster.labels.x:-",
	} {
		if err := Check(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"cluster.region":                                  "there is no variable ${cluster.region}: use ${cluster.name}, ${cluster.labels.KEY} or ${cluster.properties.NAME}",
		"cluster.labels.":                                 `"" cannot be the key of a label`,
		"cluster.labels.a b":                              `"a b" cannot be the key of a label`,
		"cluster.properties.A_B":                          `"A_B" cannot be the name of a ClusterProperty`,
		"cluster.name:-x":                                 "every cluster has a name",
		"cluster.labels.a:-${cluster.name":                "has to be text",
		"cluster.labels.a:-" + strings.Repeat("x", 257):   "has 257 bytes, at most 256",
		"cluster.matches(a)":                              "there is no variable",
		"if cluster.matches(env=prod) cluster.labels.env": "there is no variable",
	} {
		if err := Check(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", bad, err, want)
		}
	}
}

// TestOneSelectorIsWrittenInOneWay: whatever order and notation it comes in, it is the same variable.
func TestOneSelectorIsWrittenInOneWay(t *testing.T) {
	const want = "cluster.matches(!edge,env in (dev,test),region=eu,tier!=x)"
	for _, text := range []string{"env in (test,dev),region==eu,!edge,tier notin (x)", "tier!=x, region in (eu), env in (dev, test, dev), !edge"} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", text, got, err, want)
		}
	}
	got, err := Matching(&metav1.LabelSelector{
		MatchLabels: map[string]string{"region": "eu"},
		MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "env", Operator: metav1.LabelSelectorOpIn, Values: []string{"test", "dev"}},
			{Key: "tier", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"x"}},
			{Key: "edge", Operator: metav1.LabelSelectorOpDoesNotExist},
		},
	})
	if err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	if got, err := Named([]string{" US", "eu", "us"}); err != nil || got != "cluster.named(eu,us)" {
		t.Errorf("got %s, %v", got, err)
	}
	for _, bad := range []string{"", "env=", "a b", "cores>4", "env in prod", "=x"} {
		got, err := Parse(bad)
		if (err == nil) != (bad == "env=") {
			t.Errorf("%q: got %s, %v", bad, got, err)
		}
	}
	for _, bad := range [][]string{nil, {""}, {"a,b"}, {"a)"}} {
		if got, err := Named(bad); err == nil {
			t.Errorf("%q: got %s", bad, got)
		}
	}
}

// FuzzSelector: what Kubernetes takes for a selector matches here what it matches there.
func FuzzSelector(f *testing.F) {
	f.Add("env in (dev,prod),!edge", "env", "prod")
	f.Add("a notin (x,y),b!=c,d", "d", "")
	f.Add("tier=", "tier", "")
	f.Add("in in (in,notin)", "in", "in")
	f.Fuzz(func(t *testing.T, text, key, value string) {
		selector, err := labels.Parse(text)
		if err != nil {
			return
		}
		written, err := Parse(text)
		if err != nil {
			return // it selects all, or by > and <
		}
		again, err := Parse(strings.TrimSuffix(strings.TrimPrefix(written, matches), ")"))
		if err != nil || again != written {
			t.Fatalf("%q is written as %s, which reads as %s, %v", text, written, again, err)
		}
		sets := []labels.Set{nil, {key: value}, {}}
		requirements, _ := selector.Requirements()
		for _, r := range requirements {
			sets = append(sets, labels.Set{r.Key(): value, key: value})
			for _, wanted := range r.Values().UnsortedList() {
				sets = append(sets, labels.Set{r.Key(): wanted})
				sets[2][r.Key()] = wanted
			}
		}
		for _, set := range sets {
			cluster := Cluster{Name: "x", Labels: set}
			if got, want := Matches(written, cluster), selector.Matches(set); got != want {
				t.Errorf("%s on %v: got %t, want %t", written, set, got, want)
			}
			if got, has := Value(Guarded(written, Name), cluster); !has || (got == "x") != selector.Matches(set) {
				t.Errorf("guarded by %s on %v: %q, %t", written, set, got, has)
			}
		}
	})
}

func BenchmarkValue(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if got, _ := Value("if cluster.matches(env in (dev,prod),!edge) cluster.labels.region:-us", eu); got != "eu" {
			b.Fatal(got)
		}
	}
}
