package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
)

// Code is what shows that the agent itself wrote an order down: a message authentication code by a key that is made of its own, for
// nothing else. It does not depend on the hub's authorities, so that no rotation makes an order worthless.
func (k *Keyring) Code(order []byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		return nil, fmt.Errorf("making a code for an order: %w", err)
	}
	derive := hmac.New(sha256.New, der)
	derive.Write([]byte("umbel: the orders of an agent"))
	code := hmac.New(sha256.New, derive.Sum(nil))
	code.Write(order)
	return code.Sum(nil), nil
}

// Closed says whether every order on the disk has a code: one without was written by somebody else.
func (k *Keyring) Closed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.closed
}

// Close notes that, where the key is. It may be repeated.
func (k *Keyring) Close() error {
	k.mu.Lock()
	done := k.closed
	k.closed = true
	k.mu.Unlock()
	if done {
		return nil
	}
	return k.home.Save(Papers{Key: k.keyPEM, Orders: []byte("each has a code")})
}
