package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/identity/provider"
	"umbel.dev/umbel/internal/identity/signin"
)

const (
	// spare is how long a token must be good for still.
	spare = 10 * time.Second
	// refreshTime is how long waiting for another program and asking the provider may take together.
	refreshTime = 45 * time.Second
	// lockInterval is how often a lock that another program holds is tried.
	lockInterval = 20 * time.Millisecond
)

// Session is a sign-in to one hub.
type Session struct {
	// Hub is its URL, https://HOST:PORT, and HubCA (PEM) what it is known by; empty means by the computer's authorities.
	Hub   string `json:"hub"`
	HubCA string `json:"hubCA,omitempty"`
	// Issuer is who vouches for the person.
	Issuer signin.Issuer `json:"issuer"`
	// The tokens, and when that for the hub expires.
	IDToken      string    `json:"idToken"`
	RefreshToken string    `json:"refreshToken,omitempty"`
	Expires      time.Time `json:"expires"`
}

// Take puts the tokens of a provider into the session.
func (s *Session) Take(tokens provider.Tokens) {
	s.IDToken, s.Expires = tokens.ID, tokens.Expires
	if tokens.Refresh != "" { // otherwise the one that it has goes on serving
		s.RefreshToken = tokens.Refresh
	}
}

// Store is where the sessions of a data folder are.
type Store struct {
	dir string
	now func() time.Time
}

// In returns the sessions of the data folder.
func In(home string, now func() time.Time) Store {
	return Store{dir: filepath.Join(home, "sessions"), now: now}
}

// path is the file of a session.
func (s Store) path(hub string) string {
	name := hub
	if parsed, err := url.Parse(hub); err == nil && parsed.Host != "" {
		name = parsed.Host
	}
	return filepath.Join(s.dir, strings.NewReplacer(":", "_", "/", "_", "[", "", "]", "").Replace(name)+".json")
}

// Load reads the session with a hub. The error is fs.ErrNotExist when there is none.
func (s Store) Load(hub string) (*Session, error) {
	raw, err := os.ReadFile(s.path(hub))
	if err != nil {
		return nil, fmt.Errorf("reading the sign-in to %s: %w", hub, err)
	}
	session := &Session{}
	if err := json.Unmarshal(raw, session); err != nil {
		return nil, fmt.Errorf("reading the sign-in to %s: file %s is damaged: `umbel login %s` writes it anew", hub, s.path(hub), hub)
	}
	return session, nil
}

// Save writes a session, as a whole, for its owner alone.
func (s Store) Save(session *Session) error {
	raw, err := json.MarshalIndent(session, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of sign-ins: %w", err)
	}
	if err := renameio.WriteFile(s.path(session.Hub), raw, 0o600); err != nil {
		return fmt.Errorf("keeping the sign-in to %s: %w", session.Hub, err)
	}
	return nil
}

// Forget removes the session with a hub. It is no error when there is none.
func (s Store) Forget(hub string) error {
	for _, path := range []string{s.path(hub), s.path(hub) + ".lock"} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forgetting the sign-in to %s: %w", hub, err)
		}
	}
	return nil
}

// Token returns the session with a hub, with a token that is good now.
func (s Store) Token(ctx context.Context, hub string) (*Session, error) {
	session, err := s.Load(hub)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("nobody is signed in to %s: `umbel login %s`", hub, hub)
	}
	if err != nil || s.lasts(session) {
		return session, err
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	unlock, err := s.lock(ctx, hub)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if session, err = s.Load(hub); err != nil || s.lasts(session) {
		return session, err
	}
	return s.refresh(ctx, session)
}

func (s Store) lasts(session *Session) bool { return s.now().Add(spare).Before(session.Expires) }

// refresh gets the next token. The lock is held.
func (s Store) refresh(ctx context.Context, session *Session) (*Session, error) {
	if session.RefreshToken == "" {
		return nil, fmt.Errorf("the sign-in to %s has expired, and %s gives none that lasts: `umbel login %s` signs you in again", session.Hub, session.Issuer.URL, session.Hub)
	}
	tokens, err := ask(ctx, session)
	if refused, ok := errors.AsType[*provider.RefusedError](err); ok {
		return nil, fmt.Errorf("the sign-in to %s has ended (%s): `umbel login %s` signs you in again", session.Hub, withoutSecret(refused.Error(), session), session.Hub)
	}
	if err != nil && s.now().Before(session.Expires) {
		return session, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the sign-in to %s cannot be renewed now (%s): try again; if that does not help, `umbel login %s` signs you in again",
			session.Hub, withoutSecret(err.Error(), session), session.Hub)
	}
	session.Take(tokens)
	return session, s.Save(session)
}

func ask(ctx context.Context, session *Session) (provider.Tokens, error) {
	issuer, err := provider.Discover(ctx, session.Issuer)
	if err != nil {
		return provider.Tokens{}, err
	}
	return issuer.Refresh(ctx, session.RefreshToken)
}

// withoutSecret is text unless a provider has repeated our secrets in it.
func withoutSecret(text string, session *Session) string {
	if strings.Contains(text, session.RefreshToken) || strings.Contains(text, session.IDToken) {
		return session.Issuer.URL + " refused"
	}
	return text
}

// lock keeps other programs of this data folder from refreshing. It ends with the process at the latest.
func (s Store) lock(ctx context.Context, hub string) (unlock func(), err error) {
	path := s.path(hub) + ".lock"
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the sign-in to %s: %w", hub, err)
	}
	tick := time.NewTicker(lockInterval)
	defer tick.Stop()
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			file.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("another program is renewing the sign-in to %s and does not come to an end: try again", hub)
		}
	}
}
