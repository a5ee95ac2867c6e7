package signature

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// maxKeys bounds the text of all keys of a source.
const maxKeys = 1 << 20

// Keys are those of whom signatures are taken.
type Keys struct {
	ssh []allowed
	gpg openpgp.EntityList
	pem []publicKey
}

// Signer is who signed.
type Signer struct {
	// Name is what the keys call the signer, such as an address; it may be empty.
	Name string
	// Key names the key: its fingerprint, and before it what kind it is.
	Key string
}

// String names the signer for people.
func (s Signer) String() string {
	if s.Name == "" {
		return s.Key
	}
	return s.Name + " (" + s.Key + ")"
}

// ErrUnsigned says that there is no signature at all.
var ErrUnsigned = errors.New("it is not signed")

const (
	pgpKey = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	pemAny = "-----BEGIN "
)

// Parse reads the entries of a Secret or a ConfigMap. Errors name the entry, and nothing that is in it.
func Parse(entries map[string][]byte) (*Keys, error) {
	keys, size := &Keys{}, 0
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if size += len(entries[name]); size > maxKeys {
			return nil, fmt.Errorf("the keys are more than %d bytes", maxKeys)
		}
		if err := keys.add(entries[name]); err != nil {
			return nil, fmt.Errorf("key %q: %w", name, err)
		}
	}
	if len(keys.ssh)+len(keys.gpg)+len(keys.pem) == 0 {
		return nil, errors.New("there is no key in it")
	}
	return keys, nil
}

func (k *Keys) add(entry []byte) error {
	text := strings.TrimSpace(string(entry))
	switch {
	case strings.HasPrefix(text, pgpKey):
		return k.addGPG(text)
	case strings.HasPrefix(text, pemAny):
		return k.addPEM(text)
	}
	signers, err := parseAllowed(text)
	k.ssh = append(k.ssh, signers...)
	return err
}

// addGPG reads blocks of GPG public keys in armour.
func (k *Keys) addGPG(text string) error {
	for block := range strings.SplitSeq(text, pgpKey) {
		if strings.TrimSpace(block) == "" {
			continue
		}
		entities, err := openpgp.ReadArmoredKeyRing(bytes.NewReader([]byte(pgpKey + block)))
		if err != nil {
			return errors.New("it is no GPG public key in armour that can be read")
		}
		for _, entity := range entities {
			if entity.PrivateKey != nil {
				return errors.New("it holds a private GPG key: only `gpg --armor --export` belongs here")
			}
		}
		k.gpg = append(k.gpg, entities...)
	}
	return nil
}
