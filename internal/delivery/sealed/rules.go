package sealed

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"umbel.dev/umbel/internal/delivery/sops"
)

// origin is where a ciphertext was encrypted.
type origin struct {
	file  *sops.File
	value sops.Value
}

// check says why a ciphertext must not be where it is in an object.
func (p pointer) check(object map[string]any, from origin) error {
	if identifies(p.path) {
		return fmt.Errorf("%s: is encrypted, and the hub has to know it: encrypt values only, with encrypted_regex: ^(data|stringData)$", p.field())
	}
	if from.file.Format == sops.Dotenv {
		if !secret(object) || !p.encoded || !slices.Equal(p.path, append([]string{"data"}, from.value.Path...)) {
			return fmt.Errorf("%s: is %s of an encrypted file, which becomes data of a Secret of the same name and nothing else: use a secretGenerator",
				p.field(), strings.Join(from.value.Path, "."))
		}
		return nil
	}
	if !p.stands(from.value.Path) {
		return fmt.Errorf("%s: was encrypted at %s, and is decrypted there only", p.field(), strings.Join(from.value.Path, "."))
	}
	return p.checkHead(object, from)
}

// stands says whether a ciphertext is where it was encrypted: in the data of a Secret what was in its stringData, too.
func (p pointer) stands(path []string) bool {
	if p.encoded {
		return len(path) == 2 && path[0] == "stringData" && path[1] == p.path[1]
	}
	return slices.Equal(p.path, path)
}

// checkHead says why an object is not the one that the encrypted document was meant to be.
func (p pointer) checkHead(object map[string]any, from origin) error {
	head := from.file.Head(from.value.Document)
	if object["kind"] != head.Kind || object["apiVersion"] != head.APIVersion {
		return fmt.Errorf("%s: was encrypted in a %s of %s, and is decrypted in one only", p.field(), head.Kind, head.APIVersion)
	}
	if !from.file.CoversAll() && !secret(object) {
		return fmt.Errorf("%s: the MAC of its file is over encrypted values alone (mac_only_encrypted), which is enough for Secrets only", p.field())
	}
	metadata, _ := object["metadata"].(map[string]any)
	namespace, _ := metadata["namespace"].(string)
	if head.Namespace != "" && head.Namespace != namespace && !strings.Contains(head.Namespace, "${") {
		return fmt.Errorf("metadata.namespace: is %q, and the encrypted document says %q, which nothing but sops may change: take it out there, if others are to be chosen",
			namespace, head.Namespace)
	}
	return nil
}

// identifies says whether a path is of what an object is known by.
func identifies(path []string) bool {
	return path[0] == "apiVersion" || path[0] == "kind" || path[0] == "metadata"
}

// errNoFile says that a ciphertext is of no file that is there.
var errNoFile = errors.New("is encrypted by SOPS, and its file is not here as sops wrote it, with the block `sops` at its end")
