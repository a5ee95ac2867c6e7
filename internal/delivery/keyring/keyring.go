package keyring

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/internal/delivery/sealed"
	"umbel.dev/umbel/internal/delivery/sops"

	"umbel.dev/umbel/api/v1alpha1"
)

// patience is how long opening waits for the keys to be read.
const patience = 20 * time.Second

// keptFiles is how many files' keys are kept in memory, so that a repair does not have to unwrap one again.
const keptFiles = 2000

// Needs are what a Keyring needs. All fields are required.
type Needs struct {
	// Client reaches the member's API server.
	Client kubernetes.Interface
	Log    *slog.Logger
	// Now is the clock.
	Now func() time.Time
}

// Keyring is the keys of a member.
type Keyring struct {
	needs Needs
	ready chan struct{} // closed when the keys have been read

	mu      sync.Mutex // guards what follows
	keys    []key
	own     int               // so many of them, the first, are the member's own
	entries map[string][]byte // of our Secret, as it was seen last
	wrong   string            // what was said last of entries that are no keys
	changed []func()
	files   map[[sha256.Size]byte][]byte // the keys of files, by what they were unwrapped from
}

// New returns a Keyring that has no keys yet: Run reads them.
func New(needs Needs) *Keyring {
	return &Keyring{needs: needs, ready: make(chan struct{}), files: map[[sha256.Size]byte][]byte{}}
}

// Changed has f called after the keys changed. Before Run only.
func (k *Keyring) Changed(f func()) { k.changed = append(k.changed, f) }

// take makes these the keys, and says whether they are others than before.
func (k *Keyring) take(there stored) (changed bool) {
	keys, own, wrong := read(there)
	k.mu.Lock()
	defer k.mu.Unlock()
	if said := fmt.Sprint(wrong); len(wrong) > 0 && said != k.wrong {
		k.needs.Log.Warn("not every entry *.agekey is a key", "namespace", namespace, "error", errors.Join(wrong...))
		k.wrong = said
	}
	k.entries = there[v1alpha1.AgeSecret]
	same := slices.EqualFunc(keys, k.keys, func(a, b key) bool { return a.recipient == b.recipient })
	k.keys, k.own = keys, own
	if !same {
		clear(k.files)
	}
	select {
	case <-k.ready:
	default:
		if own > 0 {
			close(k.ready)
		}
	}
	return !same
}

// Recipients are what to encrypt for, so that this member can open it: the newest of its own first. They are public.
func (k *Keyring) Recipients() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return recipientsOf(k.keys)
}

// await waits for the keys.
func (k *Keyring) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-k.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the keys of this cluster could not be read yet (secret %s/%s): the agent's log says why", namespace, v1alpha1.AgeSecret)
	}
}

// Open returns an object with its values decrypted. It may be called at any time, and waits a while for the keys. No error has
// a value in it.
func (k *Keyring) Open(ctx context.Context, object []byte, files []string) ([]byte, error) {
	if err := k.await(ctx); err != nil {
		return nil, err
	}
	return sealed.Open(object, files, opener{k})
}

// OpenWith is Open with the keys in these Secrets of a namespace, name by name and entry by entry, and with no other: what is encrypted for the
// cluster is not for whoever can commit a copy of it.
func (k *Keyring) OpenWith(secrets map[string]map[string][]byte, namespace string, object []byte, files []string) ([]byte, error) {
	keys, _, wrong := read(secrets)
	return sealed.Open(object, files, purse{keys: keys, wrong: errors.Join(wrong...), namespace: namespace})
}

// opener is the member's keys for package sealed.
type opener struct{ k *Keyring }

// Open implements sealed.Keys.
func (o opener) Open(file *sops.File) (*sops.Plain, error) {
	dataKey, err := o.k.fileKey(file)
	if err != nil {
		return nil, err
	}
	return file.Open(dataKey)
}

// purse is the keys of a team. Nothing of it is kept.
type purse struct {
	keys      []key
	wrong     error
	namespace string
}

// Open implements sealed.Keys.
func (p purse) Open(file *sops.File) (*sops.Plain, error) {
	dataKey, err := file.Key(identitiesOf(p.keys))
	if errors.Is(err, sops.ErrNoIdentity) {
		err = fmt.Errorf("it is encrypted for %s, and a package of namespace %s opens what is encrypted for a key in one of its Secrets there (entries *.agekey), which are for %s: encrypt it for one of those, or bring the key (docs/operate/secrets.md)",
			listed(file.Recipients()), p.namespace, listed(recipientsOf(p.keys)))
		if p.wrong != nil {
			err = fmt.Errorf("%w; %w", err, p.wrong)
		}
	}
	if err != nil {
		return nil, err
	}
	return file.Open(dataKey)
}

func identitiesOf(keys []key) []age.Identity {
	identities := make([]age.Identity, len(keys))
	for i, key := range keys {
		identities[i] = key.identity
	}
	return identities
}

// recipientsOf are those of keys, each once.
func recipientsOf(keys []key) []string {
	var all []string
	for _, key := range keys {
		if !slices.Contains(all, key.recipient) {
			all = append(all, key.recipient)
		}
	}
	return all
}

// fileKey unwraps the key of a file, or has it still.
func (k *Keyring) fileKey(file *sops.File) ([]byte, error) {
	sum := sha256.New()
	for _, wrapped := range file.Keys() {
		fmt.Fprintf(sum, "%d %s", len(wrapped.Encrypted), wrapped.Encrypted)
	}
	id := [sha256.Size]byte(sum.Sum(nil))
	k.mu.Lock()
	known, keys := k.files[id], k.keys
	k.mu.Unlock()
	if known != nil {
		return known, nil
	}
	found, err := file.Key(identitiesOf(keys))
	if errors.Is(err, sops.ErrNoIdentity) {
		return nil, k.notForUs(file)
	}
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.files) >= keptFiles {
		clear(k.files)
	}
	k.files[id] = found
	return found, nil
}

// notForUs says for whom a file is encrypted, who we are, and what to do.
func (k *Keyring) notForUs(file *sops.File) error {
	return fmt.Errorf("it is encrypted for %s, and this cluster has %s: add that to .sops.yaml (`umbel secrets recipients` prints it) and run `sops updatekeys` on the file, or bring the key (docs/operate/secrets.md)",
		listed(file.Recipients()), listed(k.Recipients()))
}

// listed names recipients, as far as that can be read.
func listed(recipients []string) string {
	const most, longest = 4, 80
	var some []string
	for _, r := range recipients[:min(most, len(recipients))] {
		if r = strings.Join(strings.Fields(r), " "); len(r) > longest {
			r = strings.ToValidUTF8(r[:longest], "") + "…"
		}
		some = append(some, r)
	}
	if more := len(recipients) - len(some); more > 0 {
		some = append(some, fmt.Sprintf("%d more", more))
	}
	if len(some) == 0 {
		return "nobody with a key of age"
	}
	return strings.Join(some, ", ")
}
