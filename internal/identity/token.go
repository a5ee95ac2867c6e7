package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// NewToken draws a join token: 256 random bits, base64url.
func NewToken() (string, error) {
	var bits [32]byte
	if _, err := rand.Read(bits[:]); err != nil {
		return "", fmt.Errorf("drawing a token: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(bits[:]), nil
}

// HashToken returns what the hub keeps of a token: its SHA-256 in hex. A token has enough bits that no salt is needed.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// TokenMatches says whether token has the hash, in a time that does not depend on where they differ.
func TokenMatches(token, hash string) bool {
	return token != "" && subtle.ConstantTimeCompare([]byte(HashToken(token)), []byte(hash)) == 1
}

// NewFleetToken draws a token for many clusters: NAME.RANDOM, so that the hub finds by its name what it knows of it.
func NewFleetToken(name string) (string, error) {
	random, err := NewToken()
	return name + "." + random, err
}

// FleetTokenName returns the name in a token for many clusters; a token of one cluster has none.
func FleetTokenName(token string) (name string, found bool) {
	name, _, found = strings.Cut(token, ".")
	return name, found && name != ""
}
