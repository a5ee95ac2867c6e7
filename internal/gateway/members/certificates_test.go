package members

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// TestCertificatesByTheClock: nothing before the agent has said; then True, and at two weeks before the end False, by itself.
func TestCertificatesByTheClock(t *testing.T) {
	end := time.Date(2027, 6, 1, 12, 0, 0, 0, time.UTC)
	says := func(value string) *v1alpha1.MemberCluster {
		m := &v1alpha1.MemberCluster{}
		if value != "" {
			m.Status.Properties = []v1alpha1.MemberProperty{{Name: v1alpha1.CertificateProperty, Value: value}}
		}
		return m
	}
	said := end.Format(time.RFC3339) + " kubelet of node-7"
	for _, c := range []struct {
		reason, value string
		before        time.Duration
		status        metav1.ConditionStatus
		next          time.Duration
		message       string
	}{
		{"nothing said", "", time.Hour, "", 0, ""},
		{"what cannot be read", "soon kubelet", time.Hour, "", 0, ""},
		{"long before", said, 30 * 24 * time.Hour, metav1.ConditionTrue, 16 * 24 * time.Hour, "kubelet of node-7, at 2027-06-01T12:00:00Z"},
		{"two weeks before", said, 14 * 24 * time.Hour, metav1.ConditionFalse, 0, "kubelet of node-7 ends at 2027-06-01T12:00:00Z"},
		{"after it", said, -time.Hour, metav1.ConditionFalse, 0, "kubelet of node-7"},
	} {
		got, next := certificates(&says(c.value).Status, end.Add(-c.before))
		if got.Status != c.status || next != c.next || !strings.Contains(got.Message, c.message) {
			t.Errorf("%s: %+v, again in %s", c.reason, got, next)
		}
	}
}

// TestNothingIsSaidOfCertificatesAnyMore: the condition is there as long as the property is from which it comes.
func TestNothingIsSaidOfCertificatesAnyMore(t *testing.T) {
	member, facts := joinedMember(), heard()
	condition := func() *metav1.Condition {
		member.Status, _ = Plan(member, facts, known(), at(time.Hour))
		return meta.FindStatusCondition(member.Status.Conditions, v1alpha1.ConditionCertificatesValid)
	}
	facts.Properties = []*wire.ClusterProperty{}
	if c := condition(); c != nil {
		t.Errorf("before anything is said: %+v", c)
	}
	facts.Properties = []*wire.ClusterProperty{{Name: v1alpha1.CertificateProperty, Value: start.AddDate(1, 0, 0).Format(time.RFC3339) + " CA"}}
	if c := condition(); c == nil || c.Status != metav1.ConditionTrue {
		t.Errorf("said: %+v", c)
	}
	facts.Properties = []*wire.ClusterProperty{}
	if c := condition(); c != nil {
		t.Errorf("not said any more: %+v", c)
	}
}
