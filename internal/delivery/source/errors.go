package source

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"

	"umbel.dev/umbel/api/v1alpha1"
)

// Error says why a source cannot be read. Its reason is one of those of the Fetched condition: FetchFailed,
// SourceNotAllowed, RefNotFound or PathNotFound.
type Error struct {
	Reason string
	// Err says what happened. It holds no password.
	Err error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// errUnreadable says that a mirror lacks an object that it should have, or has it in a form that cannot be read.
var errUnreadable = errors.New("the mirror cannot be read and will be made anew")

func refNotFound(ref Ref, format string, args ...any) error {
	return &Error{Reason: v1alpha1.ReasonRefNotFound, Err: fmt.Errorf("%s: "+format, append([]any{redact(ref.URL)}, args...)...)}
}

func pathNotFound(format string, args ...any) error {
	return &Error{Reason: v1alpha1.ReasonPathNotFound, Err: fmt.Errorf(format, args...)}
}

// explain makes an Error of what go-git says, with the next step where there is one.
func explain(ref Ref, err error) error {
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	address := redact(ref.URL)
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return refNotFound(ref, "the repository is empty, so it has no %q", ref.Name)
	}
	switch {
	case errors.Is(err, transport.ErrRepositoryNotFound):
		err = errors.New("there is no repository at this address")
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		err = errors.New("the server wants credentials, or refuses those in the URL")
	case errors.Is(err, context.DeadlineExceeded):
		err = errors.New("no complete answer in time")
	default:
		// The library's errors may quote the URL as it was given.
		err = errors.New(strings.ReplaceAll(strings.TrimSpace(err.Error()), ref.URL, address))
	}
	return &Error{Reason: v1alpha1.ReasonFetchFailed, Err: fmt.Errorf("fetching %s: %w", address, err)}
}

// redact takes the password out of a URL.
func redact(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the repository"
	}
	return u.Redacted()
}
