package console

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
)

const (
	// sessionCookie and visitCookie are what a browser keeps. The prefix has it take them from this host over TLS alone.
	sessionCookie = "__Host-umbel"
	visitCookie   = "__Host-umbel-visit"
	// sessionLife is how long a session lasts, unless the token that began it ends before.
	sessionLife = 8 * time.Hour
	// maxCookie is the longest value that every browser keeps.
	maxCookie = 4000
)

// session is who somebody is, as it is sealed into their cookie.
type session struct {
	User   string              `json:"u"`
	UID    string              `json:"i,omitempty"`
	Groups []string            `json:"g,omitempty"`
	Extra  map[string][]string `json:"x,omitempty"`
	// Born and Ends are in milliseconds since 1970.
	Born int64 `json:"b"`
	Ends int64 `json:"e"`
}

func newSession(who user.Info, now, ends time.Time) session {
	if latest := now.Add(sessionLife); ends.IsZero() || ends.After(latest) {
		ends = latest
	}
	return session{
		User: who.GetName(), UID: who.GetUID(), Groups: who.GetGroups(), Extra: who.GetExtra(),
		Born: now.UnixMilli(), Ends: ends.UnixMilli(),
	}
}

func (s *session) who() user.Info {
	return &user.DefaultInfo{Name: s.User, UID: s.UID, Groups: s.Groups, Extra: s.Extra}
}

// purpose says what a seal is for: what is sealed for one opens nothing as another.
type purpose string

const (
	forSession purpose = "umbel console session v1"
	forVisit   purpose = "umbel console visit v1"
)

// errSeal says that something was not sealed here.
var errSeal = errors.New("it was not sealed by this hub")

func seal(aead cipher.AEAD, p purpose, content any) (string, error) {
	plain, err := json.Marshal(content)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce) // never fails
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nonce, nonce, plain, []byte(p))), nil
}

func unseal(aead cipher.AEAD, p purpose, sealed string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(raw) < aead.NonceSize() {
		return errSeal
	}
	plain, err := aead.Open(nil, raw[:aead.NonceSize()], raw[aead.NonceSize():], []byte(p))
	if err != nil {
		return errSeal
	}
	return json.Unmarshal(plain, into)
}

// errNobody says that a request has no session.
var errNobody = errors.New("you are not signed in")

// open returns the session of a request.
func (c *Console) open(r *http.Request) (session, error) {
	var s session
	cookies := r.CookiesNamed(sessionCookie)
	if len(cookies) != 1 {
		return s, errNobody
	}
	if err := unseal(c.keys.aead(), forSession, cookies[0].Value, &s); err != nil {
		return s, fmt.Errorf("%w: your session is of before the hub's key was made anew", errNobody)
	}
	now := c.Now()
	switch {
	case now.UnixMilli() >= s.Ends:
		return s, fmt.Errorf("%w: your session has ended", errNobody)
	case s.Born <= c.keys.endedBefore(s.User):
		return s, fmt.Errorf("%w: your sessions were ended everywhere", errNobody)
	}
	return s, nil
}

// begin gives the browser a session of somebody, which ends when their token does, at the latest.
func (c *Console) begin(w http.ResponseWriter, who user.Info, ends time.Time) (session, error) {
	now := c.Now()
	s := newSession(who, now, ends)
	sealed, err := seal(c.keys.aead(), forSession, s)
	if err != nil {
		return s, err
	}
	if len(sealed) > maxCookie {
		return s, fmt.Errorf("user %q is in %d groups, which are more than a browser keeps in a cookie: have the identity provider send those alone that the hub's roles name", s.User, len(s.Groups))
	}
	setCookie(w, sessionCookie, sealed, time.UnixMilli(s.Ends).Sub(now), http.SameSiteStrictMode)
	return s, nil
}

func setCookie(w http.ResponseWriter, name, value string, life time.Duration, site http.SameSite) {
	age := int(life / time.Second)
	if value == "" {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: true, SameSite: site})
}
