// Package signature answers: who signed what a source holds, and is it one of those who may?
//
// It reads what it is given and nothing else: keys, as a Secret or a ConfigMap holds them, and the bytes of what is signed. It
// asks nobody, so that the same bytes and keys give the same answer at any time but for keys that end.
//
//  1. Parse reads keys, each entry by what is in it: a file of allowed signers as ssh has it, GPG public keys in armour, or
//     public keys in PEM, which are cosign's. An entry that is none of them is an error: a key that is left out by mistake
//     would look like one that was taken back.
//  2. Commit and Tag take the signature out of a Git object, just as git does, and verify the rest of its bytes.
//  3. Artifact verifies cosign's signatures of an artifact: those of simple signing, and the bundles of cosign 3.
//
// Laws:
//   - What is verified is what is used: the bytes of the object whose hash is the revision. An object whose first line is not
//     the one that Git writes, or that has a header twice, is refused, since two programs may read it in two ways.
//   - A signature counts only for what it was made for: ssh's for Git has the namespace git, that of a tag names the tag, and
//     so an old one cannot stand under a new name.
//   - Of what is not verified, the error says what was found: nothing, or a key that is not among these, and which one.
//
// It leaves it to delivery what becomes of a revision that is not verified, and to the readers of sources to fetch what is
// signed. It runs in the hub.
package signature
