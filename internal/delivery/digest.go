package delivery

import "umbel.dev/umbel/api/v1alpha1"

// DigestFor returns the digest of the content that a Release has for a cluster; empty when it has none.
func DigestFor(release *v1alpha1.ReleaseSpec, member *v1alpha1.MemberCluster) string {
	if variant := VariantFor(release, ClusterOf(member)); variant != nil {
		return variant.Digest
	}
	return ""
}
