package clitest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/view"
)

func TestTaint(t *testing.T) {
	f := newFleet(t)
	for _, step := range []struct {
		reason string
		args   string
		want   said
		taints string
	}{
		{
			reason: "two taints at once", args: "taint dev maintenance=disks:NoSelect example.com/slow:PreferNoSelect",
			want: said{Out: "cluster/dev tainted\n"}, taints: "example.com/slow:PreferNoSelect,maintenance=disks:NoSelect",
		},
		{
			reason: "the same again changes nothing", args: "taint cluster/dev maintenance=disks:NoSelect",
			want: said{Out: "cluster/dev not tainted\n"}, taints: "example.com/slow:PreferNoSelect,maintenance=disks:NoSelect",
		},
		{
			reason: "a taint that has another value stays", args: "taint dev maintenance=network:NoSelect other:Evict",
			want:   said{Err: "error: cluster \"dev\" has the taint maintenance=disks:NoSelect already: add --overwrite to make it maintenance=network:NoSelect\n", Code: 1},
			taints: "example.com/slow:PreferNoSelect,maintenance=disks:NoSelect",
		},
		{
			reason: "with --overwrite it changes; the same key may have another effect", args: "taint dev maintenance=network:NoSelect maintenance=x:Evict --overwrite",
			want: said{Out: "cluster/dev tainted\n"}, taints: "example.com/slow:PreferNoSelect,maintenance=network:NoSelect,maintenance=x:Evict",
		},
		{
			reason: "one effect is taken away", args: "taint dev maintenance:NoSelect-",
			want: said{Out: "cluster/dev untainted\n"}, taints: "example.com/slow:PreferNoSelect,maintenance=x:Evict",
		},
		{
			reason: "one of two clusters does not have it", args: "taint dev prod-eu maintenance-",
			want:   said{Out: "cluster/dev untainted\n", Err: "error: cluster \"prod-eu\" has no taint maintenance\n", Code: 1},
			taints: "example.com/slow:PreferNoSelect",
		},
		{
			reason: "no such cluster", args: "taint nope a:NoSelect",
			want:   said{Err: "error: there is no cluster \"nope\": `umbel get clusters` lists them\n", Code: 1},
			taints: "example.com/slow:PreferNoSelect",
		},
		{
			reason: "no effect", args: "taint dev a=b",
			want:   said{Err: "error: taint \"a=b\": say which effect, as a=b:NoSelect; the effects are NoSelect, PreferNoSelect, Evict\n", Code: 2},
			taints: "example.com/slow:PreferNoSelect",
		},
		{
			reason: "an effect of nodes", args: "taint dev a=b:NoSchedule",
			want:   said{Err: "error: taint \"a=b:NoSchedule\": there is no effect \"NoSchedule\": the effects are NoSelect, PreferNoSelect, Evict\n", Code: 2},
			taints: "example.com/slow:PreferNoSelect",
		},
		{
			reason: "removed with its value", args: "taint dev a=b:Evict-",
			want:   said{Err: "error: taint \"a=b:Evict-\": to remove it, leave its value out: a:Evict-\n", Code: 2},
			taints: "example.com/slow:PreferNoSelect",
		},
		{
			reason: "twice", args: "taint dev a:Evict a-",
			want:   said{Err: "error: taint \"a-\" is given twice\n", Code: 2},
			taints: "example.com/slow:PreferNoSelect",
		},
		{
			reason: "nothing to change", args: "taint dev",
			want:   said{Err: "error: say which taints: KEY=VALUE:EFFECT sets one, KEY- removes one; the effects are NoSelect, PreferNoSelect, Evict\n", Code: 2},
			taints: "example.com/slow:PreferNoSelect",
		},
		{
			reason: "nobody", args: "taint a:Evict",
			want:   said{Err: "error: name a cluster: `umbel get clusters` lists them\n", Code: 2},
			taints: "example.com/slow:PreferNoSelect",
		},
		{
			reason: "another kind", args: "taint package/shop a:Evict",
			want:   said{Err: "error: package/shop is a package: name a cluster\n", Code: 2},
			taints: "example.com/slow:PreferNoSelect",
		},
	} {
		t.Run(step.reason, func(t *testing.T) {
			if diff := cmp.Diff(step.want, f.run(t.Context(), strings.Fields(step.args)...)); diff != "" {
				t.Errorf("umbel %s (-want +got):\n%s", step.args, diff)
			}
			var dev v1alpha1.MemberCluster
			if err := f.api.Get(t.Context(), kube.ObjectKey{Name: "dev"}, &dev); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(step.taints, view.Taints(dev.Spec.Taints)); diff != "" {
				t.Errorf("taints (-want +got):\n%s", diff)
			}
		})
	}
}
