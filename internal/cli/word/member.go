package word

import (
	"fmt"

	"umbel.dev/umbel/api/v1alpha1"
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
