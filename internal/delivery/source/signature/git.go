package signature

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/hiddeco/sshsig"
)

// gitNamespace is that of ssh's signatures that git makes.
const gitNamespace = "git"

const (
	sshBegin = "-----BEGIN SSH SIGNATURE-----"
	pgpBegin = "-----BEGIN PGP SIGNATURE-----"
	pgpOther = "-----BEGIN PGP MESSAGE-----"
)

// Commit says who signed a commit, of which raw is the object as Git hashes it, without its kind and length.
func (k *Keys) Commit(raw []byte) (Signer, error) {
	object, err := parseCommit(raw)
	if err != nil {
		return Signer{}, err
	}
	return k.verify(object)
}

// Tag says who signed an annotated tag that has this name and leads to this commit. An empty name is every one.
func (k *Keys) Tag(raw []byte, name, commit string) (Signer, error) {
	object, err := parseTag(raw)
	switch {
	case err != nil:
		return Signer{}, err
	case name != "" && object.headers["tag"] != name:
		return Signer{}, fmt.Errorf("it was made as the tag %q, and stands under another name", object.headers["tag"])
	case object.headers["type"] != "commit" || object.headers["object"] != commit:
		return Signer{}, errors.New("it does not lead to the commit itself")
	}
	return k.verify(object)
}

// verify looks for the key of a signature.
func (k *Keys) verify(object *object) (Signer, error) {
	switch {
	case object.signature == "":
		return Signer{}, ErrUnsigned
	case strings.HasPrefix(object.signature, sshBegin):
		return k.verifySSH(object)
	case strings.HasPrefix(object.signature, pgpBegin):
		return k.verifyGPG(object)
	}
	return Signer{}, errors.New("its signature is neither ssh's nor GPG's (x509 signatures are not verified)")
}

func (k *Keys) verifySSH(object *object) (Signer, error) {
	signature, err := sshsig.Unarmor([]byte(object.signature))
	if err != nil {
		return Signer{}, errors.New("its ssh signature cannot be read")
	}
	signer, err := find(k.ssh, signature.PublicKey, gitNamespace, object.at)
	if err != nil {
		return Signer{}, err
	}
	if err := sshsig.Verify(bytes.NewReader(object.payload), signature, signature.PublicKey, signature.HashAlgorithm, gitNamespace); err != nil {
		return Signer{}, fmt.Errorf("its signature by %s is not one of these bytes: %w", signer, err)
	}
	return signer, nil
}

func (k *Keys) verifyGPG(object *object) (Signer, error) {
	entity, err := openpgp.CheckArmoredDetachedSignature(k.gpg, bytes.NewReader(object.payload), strings.NewReader(object.signature), nil)
	if errors.Is(err, pgperrors.ErrUnknownIssuer) {
		return Signer{}, errors.New("it is signed by a GPG key that is not among the keys")
	}
	if err != nil {
		return Signer{}, fmt.Errorf("its GPG signature does not hold: %w", err)
	}
	signer := Signer{Key: fmt.Sprintf("gpg %X", entity.PrimaryKey.Fingerprint)}
	if identity := entity.PrimaryIdentity(); identity != nil {
		signer.Name = identity.Name
	}
	return signer, nil
}

// object is a commit or a tag, taken apart.
type object struct {
	headers   map[string]string
	payload   []byte // what is signed
	signature string
	at        time.Time // when it was made, as it says itself
}

// parseCommit takes a commit apart: its signature is a header, and what is signed is everything else.
func parseCommit(raw []byte) (*object, error) {
	head, _, found := bytes.Cut(raw, []byte("\n\n"))
	if !found {
		head = raw
	}
	object, signing := &object{headers: map[string]string{}}, ""
	rest := raw[len(head):]
	for line := range bytes.Lines(head) {
		if line[0] == ' ' {
			if signing == "" {
				object.payload = append(object.payload, line...)
			} else if signing == "gpgsig" {
				object.signature += string(line[1:])
			}
			continue
		}
		name, value, _ := strings.Cut(string(line), " ")
		if signing = ""; name == "gpgsig" || name == "gpgsig-sha256" {
			signing = name
		}
		if _, twice := object.headers[name]; twice && name != "parent" {
			return nil, fmt.Errorf("the commit has two headers %q", name)
		}
		object.headers[name] = strings.TrimSuffix(value, "\n")
		switch {
		case signing == "gpgsig":
			object.signature = value
		case signing == "":
			object.payload = append(object.payload, line...)
		}
	}
	// The header of a signature may be the last one: what is before it ends with its line, and what follows begins with one.
	if n := len(object.payload); n > 0 && object.payload[n-1] == '\n' {
		object.payload = object.payload[:n-1]
	}
	object.payload = append(object.payload, rest...)
	if !bytes.HasPrefix(raw, []byte("tree ")) || len(object.headers["tree"]) != 40 {
		return nil, errors.New("the commit does not begin with its tree")
	}
	var err error
	object.at, err = madeAt(object.headers["committer"])
	return object, err
}

// parseTag takes a tag apart: its signature is the end of its message.
func parseTag(raw []byte) (*object, error) {
	object := &object{headers: map[string]string{}}
	head, _, _ := bytes.Cut(raw, []byte("\n\n"))
	order := []string{"object", "type", "tag", "tagger"}
	for line := range strings.Lines(string(head)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if len(order) == 0 || name != order[0] {
			return nil, fmt.Errorf("the tag has a header %q where Git writes none", name)
		}
		object.headers[name], order = value, order[1:]
	}
	if len(order) > 0 {
		return nil, fmt.Errorf("the tag has no header %q", order[0])
	}
	begin, at := len(raw), 0
	for line := range bytes.Lines(raw) { // the last one that begins a signature counts, as with git
		for _, mark := range []string{sshBegin, pgpBegin, pgpOther} {
			if bytes.HasPrefix(line, []byte(mark)) {
				begin = at
			}
		}
		at += len(line)
	}
	object.payload, object.signature = raw[:begin], string(raw[begin:])
	var err error
	object.at, err = madeAt(object.headers["tagger"])
	return object, err
}

// madeAt reads the time of NAME <MAIL> SECONDS ZONE.
func madeAt(who string) (time.Time, error) {
	_, when, found := strings.Cut(who, "> ")
	seconds, _, _ := strings.Cut(when, " ")
	at, err := strconv.ParseInt(seconds, 10, 64)
	if !found || err != nil {
		return time.Time{}, errors.New("it does not say when it was made")
	}
	return time.Unix(at, 0), nil
}
