package source

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
)

// Error says why a source cannot be read. Its reason is one of those of the Fetched condition: FetchFailed, Unauthorized,
// SecretInvalid, SourceNotAllowed, FolderTaken, RefNotFound or PathNotFound.
type Error struct {
	Reason string
	// Err says what happened. It holds no password.
	Err error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Fail returns an Error about a Ref: its address, without a password, stands before the text.
func Fail(reason string, ref Ref, format string, args ...any) error {
	return &Error{Reason: reason, Err: fmt.Errorf("%s: "+format, append([]any{Redact(ref.URL)}, args...)...)}
}

// RefNotFound says that a source has no such version.
func RefNotFound(ref Ref, format string, args ...any) error {
	return Fail(v1alpha1.ReasonRefNotFound, ref, format, args...)
}

// NoSecret says that a Secret is not there, or lacks what it takes.
func NoSecret(format string, args ...any) error {
	return &Error{Reason: v1alpha1.ReasonSecretInvalid, Err: fmt.Errorf(format, args...)}
}

// Refused says that a server does not let us in, and what to do: to name a Secret, or to correct the one that is named.
func Refused(ref Ref) error {
	if ref.Secret == "" {
		return Fail(v1alpha1.ReasonUnauthorized, ref, "the server wants credentials, or refuses those in the URL: spec.source.%s.secretRef names a Secret with them", ref.Kind)
	}
	return Fail(v1alpha1.ReasonUnauthorized, ref, "the server refuses the credentials of secret %s (spec.source.%s.secretRef)", ref.Secret, ref.Kind)
}

func pathNotFound(format string, args ...any) error {
	return &Error{Reason: v1alpha1.ReasonPathNotFound, Err: fmt.Errorf(format, args...)}
}

// Explain makes an Error of whatever a Reader says, without what the credentials hold.
func Explain(ref Ref, err error, with Credentials) error {
	if known, ok := errors.AsType[*Error](err); ok {
		return &Error{Reason: known.Reason, Err: errors.New(with.scrub(known.Error()))}
	}
	address := Redact(ref.URL)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("no complete answer in time")
	}
	// Libraries' errors may quote the URL as it was given.
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), ref.URL, address)
	return &Error{Reason: v1alpha1.ReasonFetchFailed, Err: fmt.Errorf("fetching %s: %s", address, with.scrub(text))}
}

// Redact takes the password out of a URL.
func Redact(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		if _, after, found := strings.Cut(address, "@"); found && !strings.Contains(address, "://") {
			return after // as in git@HOST:PATH
		}
		return "the repository"
	}
	return u.Redacted()
}
