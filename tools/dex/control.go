package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/dexidp/dex/storage"
	"github.com/go-jose/go-jose/v4"
)

// control serves what administrators do.
func (p *provider) control() http.Handler {
	mux := http.NewServeMux()
	do := func(act func(*http.Request) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := act(r); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}
	}
	mux.HandleFunc("POST /rotate", do(func(*http.Request) error { return p.rotate() }))
	mux.HandleFunc("POST /revoke", do(func(*http.Request) error { return p.revoke() }))
	mux.HandleFunc("POST /clock", do(func(r *http.Request) error {
		ahead, err := time.ParseDuration(r.FormValue("ahead"))
		p.ahead.Store(int64(ahead))
		return err
	}))
	return mux
}

// keysNow is a store whose keys Dex asks for each time: it would keep them until the next rotation that it plans itself.
type keysNow struct{ storage.Storage }

// GetKeys implements storage.Storage.
func (k keysNow) GetKeys() (storage.Keys, error) {
	keys, err := k.Storage.GetKeys()
	keys.NextRotation = time.Time{}
	return keys, err
}

// uncached serves Dex, and has nobody keep its public keys: by Dex's own word verifiers would not look for a new one for
// minutes, and tests would wait that long.
func uncached(dex http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/keys") {
			w = noStore{w}
		}
		dex.ServeHTTP(w, r)
	})
}

type noStore struct{ http.ResponseWriter }

// Write implements http.ResponseWriter.
func (n noStore) Write(content []byte) (int, error) {
	n.Header().Set("Cache-Control", "no-store")
	return n.ResponseWriter.Write(content)
}

func (p *provider) rotate() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	name := make([]byte, 20)
	if _, err := rand.Read(name); err != nil {
		return err
	}
	private := &jose.JSONWebKey{Key: key, KeyID: hex.EncodeToString(name), Algorithm: "RS256", Use: "sig"}
	public := &jose.JSONWebKey{Key: key.Public(), KeyID: private.KeyID, Algorithm: "RS256", Use: "sig"}
	return p.store.UpdateKeys(func(old storage.Keys) (storage.Keys, error) {
		return storage.Keys{SigningKey: private, SigningKeyPub: public, NextRotation: old.NextRotation}, nil
	})
}

func (p *provider) revoke() error {
	tokens, err := p.store.ListRefreshTokens()
	if err != nil {
		return err
	}
	for _, token := range tokens {
		if err := p.store.DeleteRefresh(token.ID); err != nil {
			return err
		}
	}
	return nil
}
