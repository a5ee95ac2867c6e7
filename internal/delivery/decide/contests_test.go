package decide

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestContested(t *testing.T) {
	on := func(name v1alpha1.ClusterName, contests ...v1alpha1.Contest) Member {
		return Member{Cluster: Cluster{Name: name}, Holds: &v1alpha1.MemberPackage{Contested: contests}}
	}
	x := v1alpha1.Contest{Object: "ConfigMap shop/x", Package: "shop/web"}
	was := []metav1.Condition{{Type: v1alpha1.ConditionContested, Status: metav1.ConditionTrue}}
	for _, c := range []struct {
		reason, want string
		members      []Member
		before       []metav1.Condition
	}{
		{reason: "nobody ever wanted anything", members: []Member{on("a"), {}}},
		{reason: "nobody does any more", members: []Member{on("a")}, before: was, want: "False Uncontested: nobody else wants what it holds"},
		{
			reason: "two clusters say the same", members: []Member{on("b", x), on("a", x, v1alpha1.Contest{Object: "Role.rbac.authorization.k8s.io shop/y", Package: "shop/api"})},
			want: "True WantedByOthers: package shop/api wants Role.rbac.authorization.k8s.io shop/y on a; package shop/web wants ConfigMap shop/x on a, b; " +
				"this package has them, and keeps them: take each out of one of the two",
		},
	} {
		got := ""
		if is, ok := Contested(c.members, c.before); ok {
			got = string(is.Status) + " " + is.Reason + ": " + is.Message
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.reason, diff)
		}
	}
}
