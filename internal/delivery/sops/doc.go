// Package sops answers: what does a file say that SOPS encrypted, and for whom is it encrypted?
//
// It reads the format of SOPS 3 (https://getsops.io), in which keys and structure of a file stay readable and values become
// ENC[AES256_GCM,…], each bound to the path at which it stands. A block `sops` holds the key of the values, encrypted for each
// recipient, and a MAC over the values in their order.
//
//  1. Detect says whether a text is such a file, and of which format: YAML, JSON, dotenv, INI. What SOPS calls binary is JSON
//     with one field.
//  2. Read takes it apart, without any key: the hub does that much, to say early what is wrong.
//  3. File.Open decrypts every value with the file's key and verifies the MAC. Only then anything is given out.
//
// Laws:
//   - All or nothing: a value that should be encrypted and is not, one that was moved, and a MAC that is another one are errors.
//   - No error has a value in it, neither as it was nor encrypted.
//   - What comes in is hostile: sizes, depth and aliases are bounded, and nothing that it says makes the process panic.
//
// Keys are age's alone (X25519, post-quantum hybrids, ssh): whoever opens files has no key of a cloud. Package sealed knows what
// becomes of objects that have encrypted values, package keyring which keys there are. It is pure: no file, no network, no clock.
// ADR 0041 says why it is not SOPS' own library.
package sops
