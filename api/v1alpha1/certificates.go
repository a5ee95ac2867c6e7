package v1alpha1

import (
	"strings"
	"time"
)

// CertificateWarning is how long before the end of a certificate a member's condition CertificatesValid becomes False.
const CertificateWarning = 14 * 24 * time.Hour

// CertificateEnd returns when the first certificate ends by which a member is reached, as its agent says, and whose it is; zero when it has
// not said.
func (s *MemberClusterStatus) CertificateEnd() (until time.Time, of string) {
	for _, p := range s.Properties {
		if p.Name != CertificateProperty {
			continue
		}
		at, whose, _ := strings.Cut(p.Value, " ")
		end, err := time.Parse(time.RFC3339, at)
		if err != nil {
			return time.Time{}, ""
		}
		return end, whose
	}
	return time.Time{}, ""
}
