package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
	encrypted "umbel.dev/umbel/internal/delivery/sealed"
)

// Secrets opens what came encrypted for this member, and keeps what nobody else is to read.
type Secrets interface {
	// Open returns an object with the values decrypted that are from the encrypted files. It may wait for the keys to be read. An
	// error says which of them is missing, and has no value in it.
	Open(ctx context.Context, object []byte, files []string) ([]byte, error)
	// OpenWith is Open with the keys in these Secrets of a namespace, and with no other.
	OpenWith(secrets map[string]map[string][]byte, namespace string, object []byte, files []string) ([]byte, error)
	// Wrap encrypts something for this member alone.
	Wrap(ctx context.Context, plain []byte) ([]byte, error)
	// Unwrap returns what was given to Wrap, as long as the key is there.
	Unwrap(ctx context.Context, wrapped []byte) ([]byte, error)
}

// errClosed says that what is encrypted could not be opened.
var errClosed = errors.New("decrypting what is encrypted in it")

// body is an object as it is sent. What is decrypted is nowhere but in what is returned.
func (u *unit) body(ctx context.Context, c *disk.Content, o disk.Object) ([]byte, error) {
	body, err := c.Body(o)
	var files []string
	if err == nil && o.Sealed() {
		files, err = c.Files(o)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the object from the agent's disk: %w", err)
	}
	if !o.Sealed() {
		return body, nil
	}
	opened, err := u.decrypt(ctx, body, files)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errClosed, err)
	}
	return opened, nil
}

// decrypt opens an object with the keys that the package may have: the cluster's are the platform's, and a team's package has those in
// the namespace of the ServiceAccount as which it acts, as far as that may read them.
func (u *unit) decrypt(ctx context.Context, body []byte, files []string) ([]byte, error) {
	account := u.asked().ActsAs
	if account == nil {
		return u.engine.needs.Secrets.Open(ctx, body, files)
	}
	api, err := u.api()
	if err != nil {
		return nil, err
	}
	there, err := api.Keys(ctx, account.Namespace)
	if err != nil {
		return nil, fmt.Errorf("reading the keys in namespace %s: %s", account.Namespace, explainAs(account, err, member.Explain))
	}
	return u.engine.needs.Secrets.OpenWith(there, account.Namespace, body, files)
}

// wording says why the API server refused an object.
type wording func(error) string

// wordingFor is how an error is told that is about an object: what the API server says of a Secret, or of one with decrypted values,
// may quote them.
func wordingFor(o disk.Object, err error) wording {
	if (o.Sealed() || o.ID.Secret()) && !errors.Is(err, errClosed) {
		return member.ExplainUnquoted
	}
	return member.Explain
}

// wordingOf is the same for an object of the inventory.
func wordingOf(key bundle.Key, it disk.Item) wording {
	if it.Sealed || key.Group == "" && key.Kind == "Secret" {
		return member.ExplainUnquoted
	}
	return member.Explain
}

// opensFirst says whether something of an object comes encrypted that the inventory does not know of yet.
func (u *unit) opensFirst(r *record) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.inventory[r.key].Sealed && r.item().Sealed
}

// cameEncrypted says whether an object on the member has values that came encrypted, by what stands on it.
func cameEncrypted(object []byte) bool {
	return bytes.Contains(object, []byte(`"`+encrypted.EncryptedAnnotation+`"`))
}

// journaled is an object as the journal of deletions has it: what came encrypted is encrypted there too, for this member alone.
func (e *Engine) journaled(ctx context.Context, o disk.Deleted) (*disk.Deleted, error) {
	if !o.Item.Sealed {
		return &o, nil
	}
	var err error
	if o.Wrapped, err = e.needs.Secrets.Wrap(ctx, o.Object); err != nil {
		return nil, fmt.Errorf("keeping %s before it is pruned: %w", o.Key, err)
	}
	o.Object = nil
	return &o, nil
}

// unjournaled decrypts what the journal has encrypted, and says which objects cannot be.
func (e *Engine) unjournaled(ctx context.Context, objects []disk.Deleted) (readable []disk.Deleted, closed []error) {
	for _, o := range objects {
		if o.Wrapped != nil {
			raw, err := e.needs.Secrets.Unwrap(ctx, o.Wrapped)
			if err != nil {
				closed = append(closed, fmt.Errorf("%s: %w", o.Key, err))
				continue
			}
			o.Object, o.Wrapped = raw, nil
		}
		readable = append(readable, o)
	}
	return readable, closed
}

// Unlocked has everything tried again that could not be done, after the keys of the member changed.
func (e *Engine) Unlocked() {
	for _, u := range e.roster.all() {
		poke(u.kick)
	}
}
