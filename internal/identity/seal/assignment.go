package seal

import (
	"crypto/x509"

	"umbel.dev/umbel/api/wire"
)

// Verify says why an assignment is not what a hub signed that is known by these CAs; nil when it is.
func Verify(a *wire.Assignment, trusted *x509.CertPool) error {
	given, at := a.GetSeal(), a.Where()
	place := Place{Variants: int64(given.GetVariants()), Variant: int64(given.GetVariant()), Root: given.GetRoot(), Path: given.GetPath()}
	root, err := place.Check(Content{Digest: at.GetDigest(), Size: at.GetSize()})
	if err != nil {
		return err
	}
	sealed := Seal{Certificates: given.GetCertificates(), Signature: given.GetSignature()}
	return sealed.Verify(&Statement{
		Package: a.GetPackage(), Release: a.GetRelease(), Revision: a.GetRevision(), Repository: at.GetRepository(),
		Verified: given.GetVerified(), Variants: place.Variants, Root: root,
	}, trusted)
}

// Of is the Seal as a message, for the content at a place.
func Of(s *Seal, verified string, place Place) *wire.Seal {
	return &wire.Seal{
		Certificates: s.Certificates, Signature: s.Signature, Verified: verified,
		Variants: uint32(place.Variants), Variant: uint32(place.Variant), Root: place.Root, Path: place.Path,
	}
}
