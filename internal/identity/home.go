package identity

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Papers are what an agent keeps of itself, each part in PEM. Printed or logged, they show nothing.
type Papers struct {
	// Key is the private key: made once, and never sent anywhere.
	Key []byte
	// Certificate is the one that the hub issued last, Trust the CAs by which the agent knows its hub. Either may be
	// missing: the hub gives them again to whoever has the key.
	Certificate, Trust []byte
	// Orders is there once every order on the agent's disk has a code that is made with the key, see Keyring.Code.
	Orders []byte
}

// String, GoString and LogValue keep the key out of messages and logs.
func (Papers) String() string { return "papers" }

// GoString implements fmt.GoStringer.
func (p Papers) GoString() string { return p.String() }

// LogValue implements slog.LogValuer.
func (p Papers) LogValue() slog.Value { return slog.StringValue(p.String()) }

// Where a member's cluster keeps the papers of an agent that runs as a pod. `umbel join` looks there whether a cluster is
// the one whose key the hub knows; the annotation says so without the key.
const (
	// MemberSecret is the name of the Secret, in the agent's namespace.
	MemberSecret = "umbel-agent-identity"
	// FingerprintAnnotation on it is the KeyFingerprint of the key in it.
	FingerprintAnnotation = "umbel.dev/key-fingerprint"
)

// ErrOtherKey says that a home keeps another key than the one to be saved.
var ErrOtherKey = errors.New("another key is kept there; the hub knows the member by that one")

// Home is where the papers of one agent outlive it. Its implementations, Folder and the Secret of package agent, share a
// conformance test, which is there.
type Home interface {
	// Load returns what is kept. That nothing is kept yet is no error, and gives no papers; an error says that it is not
	// known what is. It may block for as long as the home does not answer.
	Load() (Papers, error)
	// Save keeps papers. They are durable when it returns; killed at any instant it leaves each part whole, old or new. It
	// is idempotent. A key that is kept stays for good: with another one Save fails with ErrOtherKey and changes nothing.
	Save(papers Papers) error
	// String names the home, for people.
	String() string
}

// The files of a Folder.
const (
	keyFile         = "key.pem"
	certificateFile = "cert.pem"
	trustFile       = "trust.pem"
	ordersFile      = "orders"
)

// Folder is a Home in a folder, for an agent that runs as a process: key.pem, cert.pem and trust.pem.
type Folder string

// String implements Home.
func (f Folder) String() string { return "folder " + string(f) }

// Load implements Home.
func (f Folder) Load() (Papers, error) {
	var papers Papers
	for name, part := range map[string]*[]byte{keyFile: &papers.Key, certificateFile: &papers.Certificate, trustFile: &papers.Trust, ordersFile: &papers.Orders} {
		content, err := os.ReadFile(f.path(name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Papers{}, fmt.Errorf("reading the agent's identity: %w", err)
		}
		*part = content
	}
	return papers, nil
}

// Save implements Home.
func (f Folder) Save(papers Papers) error {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return fmt.Errorf("making the folder of the agent's key: %w", err)
	}
	if err := f.keepKey(papers.Key); err != nil {
		return err
	}
	if err := f.keep(trustFile, papers.Trust); err != nil {
		return fmt.Errorf("writing the hub's CAs: %w", err)
	}
	if err := f.keep(ordersFile, papers.Orders); err != nil {
		return fmt.Errorf("writing that orders have codes: %w", err)
	}
	if err := f.keep(certificateFile, papers.Certificate); err != nil {
		return fmt.Errorf("writing the agent's certificate: %w", err)
	}
	return nil
}

// keepKey writes the key, unless one is there: of two agents that begin at once, the first one's stays.
func (f Folder) keepKey(key []byte) error {
	kept, err := os.ReadFile(f.path(keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		if err := f.create(keyFile, key); !errors.Is(err, fs.ErrExist) {
			return err
		}
		kept, err = os.ReadFile(f.path(keyFile))
	}
	if err != nil {
		return fmt.Errorf("reading the agent's key: %w", err)
	}
	if !bytes.Equal(kept, key) {
		return fmt.Errorf("%s: %w", f, ErrOtherKey)
	}
	return nil
}

// create writes a file that must not be there: a link to a whole file appears at once or fails, where a rename would
// replace.
func (f Folder) create(name string, content []byte) error {
	whole, err := os.CreateTemp(string(f), "."+name+".*") // one that a crash leaves there is nobody's key
	if err != nil {
		return fmt.Errorf("writing the agent's key: %w", err)
	}
	defer os.Remove(whole.Name())
	_, err = whole.Write(content)
	err = errors.Join(err, whole.Sync(), whole.Close())
	if err == nil {
		err = os.Link(whole.Name(), f.path(name))
	}
	if err != nil {
		return fmt.Errorf("writing the agent's key: %w", err)
	}
	return nil
}

func (f Folder) keep(name string, content []byte) error {
	if len(content) == 0 {
		return nil
	}
	return renameio.WriteFile(f.path(name), content, 0o600)
}

func (f Folder) path(name string) string { return filepath.Join(string(f), name) }
