package sops

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Key is the file's key, encrypted for one recipient of age.
type Key struct {
	Recipient string
	Encrypted string
}

// metadata is what the block `sops` says.
type metadata struct {
	keys []Key
	// others are the sorts of keys that it is encrypted with beside age.
	others       []string
	mac          string
	lastModified time.Time
	// onlyEncrypted says that the MAC is over the encrypted values alone.
	onlyEncrypted bool
	rule          rule
}

// otherKeys are the fields of keys that are not age's.
var otherKeys = []string{"kms", "gcp_kms", "hckms", "azure_kv", "hc_vault", "pgp"}

func readMetadata(block *node) (metadata, error) {
	if block == nil || block.kind != branch {
		return metadata{}, errors.New("there is no block `sops` in it")
	}
	if groups := block.get("key_groups"); groups != nil && len(groups.children) > 0 {
		return metadata{}, errors.New("it has groups of keys (key_groups), of which several are needed: encrypt it without them")
	}
	m := metadata{mac: block.text("mac")}
	if only := block.get("mac_only_encrypted"); only != nil {
		m.onlyEncrypted = only.value == true || only.value == "true"
	}
	for _, name := range otherKeys {
		if keys := block.get(name); keys != nil && len(keys.children) > 0 {
			m.others = append(m.others, name)
		}
	}
	if keys := block.get("age"); keys != nil {
		for _, key := range keys.children {
			if key.kind == branch {
				m.keys = append(m.keys, Key{Recipient: key.text("recipient"), Encrypted: key.text("enc")})
			}
		}
	}
	if m.mac == "" {
		return m, errors.New("sops.mac is missing: what is in it cannot be verified")
	}
	var err error
	if m.lastModified, err = readTime(block.get("lastmodified")); err != nil {
		return m, err
	}
	m.rule, err = readRule(block)
	return m, err
}

func readTime(at *node) (time.Time, error) {
	if at != nil {
		switch value := at.value.(type) {
		case time.Time:
			return value, nil
		case string:
			if read, err := time.Parse(time.RFC3339, value); err == nil {
				return read, nil
			}
		}
	}
	return time.Time{}, errors.New("sops.lastmodified is no time: the MAC is bound to it")
}

// rule says which values are encrypted.
type rule struct {
	name   string
	suffix string
	match  *regexp.Regexp
}

const (
	unencryptedSuffix  = "unencrypted_suffix"
	encryptedSuffix    = "encrypted_suffix"
	unencryptedRegex   = "unencrypted_regex"
	encryptedRegex     = "encrypted_regex"
	unencryptedComment = "unencrypted_comment_regex"
	encryptedComment   = "encrypted_comment_regex"
)

// readRule reads the one rule that a file has: without any it is that keys which end in _unencrypted are not.
func readRule(block *node) (rule, error) {
	r := rule{name: unencryptedSuffix, suffix: "_unencrypted"}
	found := 0
	for _, name := range []string{unencryptedSuffix, encryptedSuffix, unencryptedRegex, encryptedRegex, unencryptedComment, encryptedComment} {
		text := block.text(name)
		if text == "" {
			continue
		}
		found++
		r = rule{name: name, suffix: text}
		if strings.HasSuffix(name, "_regex") {
			var err error
			if r.match, err = regexp.Compile(text); err != nil {
				return r, fmt.Errorf("sops.%s is no regular expression", name)
			}
		}
	}
	if found > 1 {
		return r, errors.New("sops has several rules of what is encrypted, and SOPS allows one")
	}
	return r, nil
}

// encrypts says whether the value at a path is encrypted.
func (r rule) encrypts(path []string, remarks [][]string, isRemark bool) bool {
	ends := func(key string) bool { return strings.HasSuffix(key, r.suffix) }
	switch r.name {
	case unencryptedSuffix:
		return !slices.ContainsFunc(path, ends)
	case encryptedSuffix:
		return slices.ContainsFunc(path, ends)
	case unencryptedRegex:
		return !slices.ContainsFunc(path, r.match.MatchString)
	case encryptedRegex:
		return slices.ContainsFunc(path, r.match.MatchString)
	case unencryptedComment:
		return !slices.ContainsFunc(remarks, func(some []string) bool { return slices.ContainsFunc(some, r.match.MatchString) })
	}
	for i, some := range remarks {
		if isRemark && i == len(remarks)-1 {
			some = some[:max(0, len(some)-1)] // the comment that says so is not encrypted itself
		}
		if slices.ContainsFunc(some, r.match.MatchString) {
			return true
		}
	}
	return false
}

var flatKey = regexp.MustCompile(`^([a-z_]+?)__list_([0-9]{1,4})__map_([a-z_]+)$`)

// unflatten makes the block `sops` of the lines that formats without nesting have of it. What is deeper, of clouds, is only
// named.
func unflatten(lines []*node) *node {
	block := &node{kind: branch}
	child := func(of *node, key string, kind kind) *node {
		if there := of.get(key); there != nil {
			return there
		}
		made := &node{key: key, kind: kind}
		of.children = append(of.children, made)
		return made
	}
	for _, line := range lines {
		text, _ := line.value.(string)
		if parts := flatKey.FindStringSubmatch(line.key); parts != nil {
			index, _ := strconv.Atoi(parts[2]) // it is made of digits
			entry := child(child(block, parts[1], list), strconv.Itoa(index), branch)
			entry.children = append(entry.children, &node{key: parts[3], value: text})
			continue
		}
		if name, _, nested := strings.Cut(line.key, "__"); nested {
			child(child(block, name, list), "0", branch)
			continue
		}
		block.children = append(block.children, &node{key: line.key, value: text})
	}
	return block
}
