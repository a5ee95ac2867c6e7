package sops

import (
	"errors"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// maxArmored bounds what is read of the file's key: it is 32 bytes, for one recipient.
const maxArmored = 64 << 10

// ErrNoIdentity says that none of the identities is one that a file is encrypted for.
var ErrNoIdentity = errors.New("it is not encrypted for any of the keys here")

// Key decrypts the file's key by the first of its recipients that an identity is of.
func (f *File) Key(identities []age.Identity) ([]byte, error) {
	if len(identities) == 0 {
		return nil, ErrNoIdentity
	}
	for _, key := range f.metadata.keys {
		if len(key.Encrypted) > maxArmored {
			continue
		}
		plain, err := age.Decrypt(armor.NewReader(strings.NewReader(key.Encrypted)), identities...)
		if err != nil {
			continue // it is for somebody else
		}
		found, err := io.ReadAll(io.LimitReader(plain, keySize+1))
		if err != nil || len(found) != keySize {
			continue
		}
		return found, nil
	}
	return nil, ErrNoIdentity
}
