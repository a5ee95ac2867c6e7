package sops

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var ciphertext = regexp.MustCompile(`^ENC\[AES256_GCM,data:([A-Za-z0-9+/=]*),iv:([A-Za-z0-9+/=]+),tag:([A-Za-z0-9+/=]+),type:([a-z]+)\]$`)

const ciphertextStart = "ENC[AES256_GCM,data:"

// IsCiphertext says whether a text is a value that SOPS encrypted.
func IsCiphertext(text string) bool {
	return strings.HasPrefix(text, ciphertextStart) && ciphertext.MatchString(text)
}

// keySize is that of a file's key.
const keySize = 32

var (
	errNotEncrypted = errors.New("is to be encrypted, and is not: it was changed by something else than sops")
	errNotWhole     = errors.New("cannot be decrypted with the file's key: it was changed or moved since it was encrypted")
)

// remarked is the text of a comment that was encrypted.
type remarked string

// decrypt returns a value that stood at a path of the file.
func decrypt(text string, key []byte, path string) (any, error) {
	if text == "" {
		return "", nil // SOPS leaves nothing as it is
	}
	parts := ciphertext.FindStringSubmatch(text)
	if parts == nil {
		return nil, errNotEncrypted
	}
	var raw [3][]byte
	for i := range raw {
		var err error
		if raw[i], err = base64.StdEncoding.DecodeString(parts[i+1]); err != nil {
			return nil, errNotWhole
		}
	}
	data, iv, tag := raw[0], raw[1], raw[2]
	if len(iv) < 12 || len(iv) > 64 || len(tag) != 16 {
		return nil, errNotWhole
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errNotWhole
	}
	gcm, err := cipher.NewGCMWithNonceSize(block, len(iv))
	if err != nil {
		return nil, errNotWhole
	}
	plain, err := gcm.Open(nil, iv, append(data, tag...), []byte(path))
	if err != nil {
		return nil, errNotWhole
	}
	value, err := typed(string(plain), parts[4])
	if err != nil {
		return nil, errNotWhole
	}
	return value, nil
}

// typed reads a decrypted value as what it was.
func typed(text, kind string) (any, error) {
	switch kind {
	case "str", "bytes":
		return text, nil
	case "int":
		return strconv.Atoi(text)
	case "float":
		return strconv.ParseFloat(text, 64)
	case "bool":
		return strconv.ParseBool(text)
	case "time":
		return time.Parse(time.RFC3339, text)
	case "comment":
		return remarked(text), nil
	}
	return nil, errNotWhole
}

// measured is what the MAC is over of a value.
func measured(value any) []byte {
	switch value := value.(type) {
	case string:
		return []byte(value)
	case int:
		return strconv.AppendInt(nil, int64(value), 10)
	case float64:
		return strconv.AppendFloat(nil, value, 'f', -1, 64)
	case bool:
		if value {
			return []byte("True")
		}
		return []byte("False")
	case time.Time:
		text, err := value.MarshalText()
		if err == nil {
			return text
		}
	}
	return nil
}
