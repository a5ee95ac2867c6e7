package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"

	"umbel.dev/umbel/api/v1alpha1"
)

// suffix of the entries of Secrets that are keys, as with Flux.
const suffix = ".agekey"

// key is one identity, and where it is from.
type key struct {
	identity  age.Identity
	to        age.Recipient
	recipient string // how people write to
	from      string // SECRET/ENTRY
}

// stored are the Secrets of the namespace: name -> entry -> content.
type stored map[string]map[string][]byte

// read returns the keys of all entries, the newest of our own first, then our others, then those that people brought; and which entries
// are none.
func read(there stored) (keys []key, own int, wrong []error) {
	names := slices.Sorted(maps.Keys(there))
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	for _, name := range names {
		entries := slices.DeleteFunc(slices.Sorted(maps.Keys(there[name])), func(entry string) bool { return !strings.HasSuffix(entry, suffix) })
		if name == v1alpha1.AgeSecret {
			slices.Reverse(entries) // their names are times
		}
		for _, entry := range entries {
			found, err := parse(there[name][entry])
			if err != nil {
				wrong = append(wrong, fmt.Errorf("secret %s, entry %s: %w", name, entry, err))
				continue
			}
			for _, k := range found {
				k.from = name + "/" + entry
				keys = append(keys, k)
			}
			if name == v1alpha1.AgeSecret {
				own += len(found)
			}
		}
	}
	return keys, own, wrong
}

func rank(name string) int {
	if name == v1alpha1.AgeSecret {
		return 0
	}
	return 1
}

// errNoKey quotes nothing of what it is about.
var errNoKey = errors.New("it is no key of age (AGE-SECRET-KEY-…) and no private key of ssh without a passphrase")

func parse(content []byte) ([]key, error) {
	if bytes.Contains(content, []byte("PRIVATE KEY-----")) {
		return parseSSH(content)
	}
	identities, err := age.ParseIdentities(bytes.NewReader(content))
	if err != nil {
		return nil, errNoKey
	}
	var found []key
	for _, identity := range identities {
		switch identity := identity.(type) {
		case *age.X25519Identity:
			found = append(found, key{identity: identity, to: identity.Recipient(), recipient: identity.Recipient().String()})
		case *age.HybridIdentity:
			found = append(found, key{identity: identity, to: identity.Recipient(), recipient: identity.Recipient().String()})
		default:
			return nil, errNoKey
		}
	}
	return found, nil
}

func parseSSH(content []byte) ([]key, error) {
	identity, err := agessh.ParseIdentity(content)
	if err != nil {
		return nil, errNoKey
	}
	signer, err := ssh.ParsePrivateKey(content)
	if err != nil {
		return nil, errNoKey
	}
	recipient := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	to, err := agessh.ParseRecipient(recipient)
	if err != nil {
		return nil, errNoKey
	}
	return []key{{identity: identity, to: to, recipient: recipient}}, nil
}

// generate makes a key, as an entry of our Secret.
func generate(now time.Time) (entry string, content []byte, err error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return "", nil, fmt.Errorf("making a key: %w", err)
	}
	now = now.UTC()
	content = fmt.Appendf(nil, "# created: %s\n# public key: %s\n%s\n", now.Format(time.RFC3339), identity.Recipient(), identity)
	return now.Format("20060102T150405.000Z") + suffix, content, nil
}
