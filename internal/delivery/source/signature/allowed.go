package signature

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// allowed is one line of a file of allowed signers: ssh-keygen(1), ALLOWED SIGNERS.
type allowed struct {
	principals string
	namespaces []string // patterns; empty for all
	after      time.Time
	before     time.Time // zero for no end
	authority  bool      // the key is of an authority, which signs those of people
	key        ssh.PublicKey
}

// parseAllowed reads a file of allowed signers. A line that is not understood is an error: what it would have ruled out must
// not be let in.
func parseAllowed(text string) ([]allowed, error) {
	var all []allowed
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		one, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d of allowed signers: %w", number, err)
		}
		all = append(all, one)
	}
	return all, nil
}

func parseLine(line string) (allowed, error) {
	principals, rest, err := word(line)
	if err != nil {
		return allowed{}, err
	}
	one := allowed{principals: strings.ReplaceAll(principals, `"`, "")}
	if one.key, err = keyOf(rest); err == nil {
		return one, nil
	}
	options, rest, err := word(rest)
	if err != nil {
		return allowed{}, err
	}
	for _, option := range split(options) {
		if err := one.option(option); err != nil {
			return allowed{}, err
		}
	}
	one.key, err = keyOf(rest)
	return one, err
}

func keyOf(text string) (ssh.PublicKey, error) {
	key, _, options, trailing, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil || len(options) > 0 || len(bytes.TrimSpace(trailing)) > 0 {
		return nil, errors.New("want PRINCIPALS [OPTIONS] KEYTYPE KEY")
	}
	return key, nil
}

// word cuts the first word off a line. Double quotes keep words together.
func word(line string) (first, rest string, err error) {
	quoted := false
	for i, c := range line {
		if c == '"' {
			quoted = !quoted
		}
		if (c == ' ' || c == '\t') && !quoted {
			return line[:i], strings.TrimLeft(line[i:], " \t"), nil
		}
	}
	if quoted {
		return "", "", errors.New("a double quote is not closed")
	}
	return line, "", nil
}

// split cuts options at the commas that are not in quotes.
func split(options string) []string {
	quoted := false
	return strings.FieldsFunc(options, func(c rune) bool {
		if c == '"' {
			quoted = !quoted
		}
		return c == ',' && !quoted
	})
}

// option takes up one option.
func (a *allowed) option(option string) (err error) {
	name, value, _ := strings.Cut(option, "=")
	value = strings.Trim(value, `"`)
	switch strings.ToLower(name) {
	case "namespaces":
		a.namespaces = strings.Split(value, ",")
	case "valid-after":
		a.after, err = timestamp(value)
	case "valid-before":
		a.before, err = timestamp(value)
	case "cert-authority":
		a.authority = true
	default:
		return errors.New("it has an option that is not known: namespaces, valid-after, valid-before and cert-authority are")
	}
	return err
}

// timestamp reads YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z]. Without Z, ssh takes the time of its machine; the hub takes UTC.
func timestamp(text string) (time.Time, error) {
	digits := strings.TrimSuffix(text, "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(digits) == len(layout) {
			if at, err := time.Parse(layout, digits); err == nil {
				return at, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: want YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS", text)
}

// matches says whether patterns, as ssh has them, match a text: one that begins with ! and matches rules it out.
func matches(patterns []string, text string) bool {
	found := false
	for _, pattern := range patterns {
		pattern, no := strings.CutPrefix(pattern, "!")
		// In these patterns only * and ? mean something.
		pattern = strings.NewReplacer(`\`, `\\`, `[`, `\[`).Replace(pattern)
		// A / is like any other character here.
		is, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(text, "/", "\x00"))
		if err != nil || !is {
			continue
		}
		if no {
			return false
		}
		found = true
	}
	return found
}

// permits says why the line does not let its key sign at a time in a namespace; nil when it does.
func (a *allowed) permits(namespace string, at time.Time) error {
	switch {
	case len(a.namespaces) > 0 && !matches(a.namespaces, namespace):
		return fmt.Errorf("its key is for the namespaces %s, and not for %q", strings.Join(a.namespaces, ","), namespace)
	case !a.after.IsZero() && at.Before(a.after):
		return fmt.Errorf("its key is valid from %s on, and it was signed on %s", a.after.Format(time.RFC3339), at.UTC().Format(time.RFC3339))
	case !a.before.IsZero() && !at.Before(a.before):
		return fmt.Errorf("its key was valid until %s, and it was signed on %s", a.before.Format(time.RFC3339), at.UTC().Format(time.RFC3339))
	}
	return nil
}

// find returns the signer of a key, which may be a certificate.
func find(lines []allowed, key ssh.PublicKey, namespace string, at time.Time) (Signer, error) {
	name := Signer{Key: "ssh " + ssh.FingerprintSHA256(key)}
	cert, certified := key.(*ssh.Certificate)
	if certified {
		name.Key = "ssh " + ssh.FingerprintSHA256(cert.Key)
	}
	var because error
	for i := range lines {
		line := &lines[i]
		if line.authority != certified || certified && !same(line.key, cert.SignatureKey) || !certified && !same(line.key, key) {
			continue
		}
		signer, err := name, line.permits(namespace, at)
		if err == nil && certified {
			signer.Name, err = line.vouches(cert, at)
		} else if err == nil {
			signer.Name = line.principals
		}
		if err == nil {
			return signer, nil
		}
		because = cmp.Or(because, err)
	}
	if because != nil {
		return Signer{}, fmt.Errorf("it is signed by %s: %w", name, because)
	}
	return Signer{}, fmt.Errorf("it is signed by %s, which is not among the keys", name)
}

func same(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

// vouches returns for whom of the line's principals its authority issued a certificate that was valid at a time.
func (a *allowed) vouches(cert *ssh.Certificate, at time.Time) (string, error) {
	if cert.CertType != ssh.UserCert {
		return "", errors.New("its certificate is for a host")
	}
	for _, principal := range cert.ValidPrincipals {
		if !matches(strings.Split(a.principals, ","), principal) {
			continue
		}
		checker := ssh.CertChecker{Clock: func() time.Time { return at }}
		if err := checker.CheckCert(principal, cert); err != nil {
			return "", fmt.Errorf("its certificate does not hold: %w", err)
		}
		return principal, nil
	}
	return "", fmt.Errorf("its certificate is for %s, and the authority may speak for %s only", strings.Join(cert.ValidPrincipals, ", "), a.principals)
}
