package backup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// ErrSealed: the archive is encrypted, and no key was given.
var ErrSealed = errors.New("the backup is encrypted with age: --identity names the file with its key")

// Seal returns a writer that encrypts for the recipients (age1…), or writes as it is when there are none. It has to be closed.
func Seal(to io.Writer, recipients []string) (io.WriteCloser, error) {
	if len(recipients) == 0 {
		return open{to}, nil
	}
	var keys []age.Recipient
	for _, text := range recipients {
		key, err := age.ParseX25519Recipient(text)
		if err != nil {
			return nil, fmt.Errorf("recipient %q is not a public key of age (age1…): %w", text, err)
		}
		keys = append(keys, key)
	}
	return age.Encrypt(to, keys...)
}

type open struct{ io.Writer }

func (open) Close() error { return nil }

// Unseal returns what an archive holds. identity is what `age-keygen` wrote; it is needed for one that is encrypted only.
func Unseal(from io.Reader, identity []byte) (io.Reader, error) {
	const intro = "age-encryption.org/"
	buffered := bufio.NewReader(from)
	if begin, _ := buffered.Peek(len(intro)); string(begin) != intro {
		return buffered, nil
	}
	if len(identity) == 0 {
		return nil, ErrSealed
	}
	keys, err := age.ParseIdentities(bytes.NewReader(identity))
	if err != nil {
		return nil, errors.New("the file of --identity holds no key of age (AGE-SECRET-KEY-…)")
	}
	plain, err := age.Decrypt(buffered, keys...)
	if err != nil {
		return nil, fmt.Errorf("decrypting the backup with the key of --identity: %w", err)
	}
	return plain, nil
}
