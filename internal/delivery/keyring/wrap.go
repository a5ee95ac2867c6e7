package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// Wrap encrypts something for this member alone, with the newest of its own keys.
func (k *Keyring) Wrap(ctx context.Context, plain []byte) ([]byte, error) {
	if err := k.await(ctx); err != nil {
		return nil, err
	}
	k.mu.Lock()
	to := k.keys[0].to // await: there is one of our own, and it is the first
	k.mu.Unlock()
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, fmt.Errorf("encrypting for this cluster: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("encrypting for this cluster: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encrypting for this cluster: %w", err)
	}
	return out.Bytes(), nil
}

// Unwrap returns what Wrap was given, also after rotations, as long as the key is still there.
func (k *Keyring) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	if err := k.await(ctx); err != nil {
		return nil, err
	}
	k.mu.Lock()
	identities := identitiesOf(k.keys)
	k.mu.Unlock()
	plain, err := age.Decrypt(bytes.NewReader(wrapped), identities...)
	if err != nil {
		return nil, errors.New("it is encrypted with a key that this cluster does not have any more")
	}
	return io.ReadAll(plain)
}
