package word

import (
	"fmt"
	"slices"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// admission is that of a member; one whose spec says nothing is admitted.
func admission(member *v1alpha1.MemberCluster) v1alpha1.Admission {
	if member.Spec.Admission == "" {
		return v1alpha1.AdmissionAdmitted
	}
	return member.Spec.Admission
}

// Admit lets a cluster in that waits, or was denied.
func Admit(member *v1alpha1.MemberCluster) error {
	switch admission(member) {
	case v1alpha1.AdmissionAdmitted:
		return ErrAlreadySo
	case v1alpha1.AdmissionSuspended:
		return fmt.Errorf("cluster %q is suspended: `umbel resume %s` lets it in again", member.Name, member.Name)
	}
	member.Spec.Admission = v1alpha1.AdmissionAdmitted
	return nil
}

// Deny refuses a cluster that waits.
func Deny(member *v1alpha1.MemberCluster) error {
	switch admission(member) {
	case v1alpha1.AdmissionDenied:
		return ErrAlreadySo
	case v1alpha1.AdmissionPending:
		member.Spec.Admission = v1alpha1.AdmissionDenied
		return nil
	}
	return fmt.Errorf("cluster %q was let in already: `umbel suspend %s` keeps it out for a while, `umbel leave %s` ends its membership",
		member.Name, member.Name, member.Name)
}

// Suspend keeps a member out for a while.
func Suspend(member *v1alpha1.MemberCluster) error {
	switch admission(member) {
	case v1alpha1.AdmissionSuspended:
		return ErrAlreadySo
	case v1alpha1.AdmissionAdmitted:
		member.Spec.Admission = v1alpha1.AdmissionSuspended
		return nil
	}
	return fmt.Errorf("cluster %q has not been let in: `umbel deny %s` refuses it", member.Name, member.Name)
}

// Readmit lets a suspended member in again.
func Readmit(member *v1alpha1.MemberCluster) error {
	switch admission(member) {
	case v1alpha1.AdmissionAdmitted:
		return ErrAlreadySo
	case v1alpha1.AdmissionSuspended:
		member.Spec.Admission = v1alpha1.AdmissionAdmitted
		return nil
	}
	return fmt.Errorf("cluster %q has not been let in: `umbel approve %s` does", member.Name, member.Name)
}

// ParseLevel reads a level as people write it.
func ParseLevel(text string) (v1alpha1.Level, error) {
	for _, level := range []v1alpha1.Level{v1alpha1.LevelObserved, v1alpha1.LevelAttached} {
		if strings.EqualFold(text, string(level)) {
			return level, nil
		}
	}
	return "", fmt.Errorf("a level is observed or attached, not %q (managed are the clusters that the hub makes)", text)
}

// SetLevel sets how far the hub goes on a member. An agent that does not know levels would go on repairing on one that is observed.
func SetLevel(member *v1alpha1.MemberCluster, level v1alpha1.Level) error {
	knows := slices.Contains(member.Status.AgentFeatures, wire.FeatureLevels)
	switch {
	case level == member.Spec.Stands():
		return ErrAlreadySo
	case level == v1alpha1.LevelObserved && member.Status.AgentVersion != "" && !knows:
		return fmt.Errorf("the agent of cluster %q does not know levels, and would go on writing there: `umbel upgrade agents` brings it to the hub's version", member.Name)
	}
	member.Spec.Level = level
	return nil
}
