// Package sealed answers: which values of an object came encrypted, from which file, and what are they?
//
// A rendered object is not the document that somebody encrypted: kustomize gave it labels, a namespace, another name. SOPS' MAC is over the
// document. So the encrypted file travels with the object as it was, and a ciphertext in the object is only a pointer into it:
//
//  1. On the hub, Sources looks at every file that is read. Each ciphertext has a nonce of its own, and so names the file and
//     the path at which it stands, wherever a tool has carried it. Seal puts the texts of those files into the object's field
//     `sops`, in place of SOPS' own block. No key is needed.
//  2. In the member, Split takes them out of the object again, and Open verifies and decrypts the files, and puts the values in place of
//     the ciphertexts. Everything else of the object is as it was rendered.
//
// Values of a Secret that are whole encrypted files, as kustomize makes them of `files:`, are decrypted as such.
//
// Rules, checked on the hub to say early what is wrong, and in the member because only there it counts. They keep mistakes out; who may
// open what is decided by keys (package keyring), since SOPS verifies values and not the names of fields:
//   - A value gets to the path at which it was encrypted, in an object of the same kind, and nowhere else.
//   - The namespace that an encrypted document names is the object's. Where it names none, the source may choose one.
//   - Where the MAC is over the encrypted values alone (mac_only_encrypted) only Secrets are taken.
//   - An encrypted manifest is no file of a generator.
//   - What says who an object is (apiVersion, kind, metadata) is not encrypted: the hub could not deliver it.
//   - A ciphertext is never applied as if it were a value.
//
// It is pure. The format of files is package sops', which keys there are is package keyring's. ADR 0040 says why.
package sealed
