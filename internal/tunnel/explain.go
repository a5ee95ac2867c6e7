package tunnel

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ExplainTrust adds to the error of a TLS handshake what to do about it, where the hub's certificate was not believed: by
// the clock, which is now, or because of its authority. now may be nil, for time.Now.
func ExplainTrust(err error, now func() time.Time) error {
	if now == nil {
		now = time.Now
	}
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		return fmt.Errorf("%w: %s", err, skew(invalid.Cert, now()))
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: the agent knows no authority of this hub: it is another hub, or its authority was replaced "+
			"because of a stolen key while the agent was away; `umbel join` again makes them known to each other", err)
	}
	return err
}

// skew says by how much a clock and a certificate of the hub disagree.
func skew(cert *x509.Certificate, now time.Time) string {
	if now.Before(cert.NotBefore) {
		return fmt.Sprintf("the clock here says %s and is behind the hub's by at least %s: set it right",
			now.UTC().Format(time.RFC3339), cert.NotBefore.Sub(now).Round(time.Minute))
	}
	return fmt.Sprintf("the clock here says %s, which is %s after the end of the hub's certificate: set it right, unless the hub's is wrong",
		now.UTC().Format(time.RFC3339), now.Sub(cert.NotAfter).Round(time.Minute))
}
