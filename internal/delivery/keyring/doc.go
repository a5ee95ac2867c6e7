// Package keyring answers, on a member: which keys does this cluster have to open what came encrypted for it?
//
// It reads the Secrets of the agent's own namespace, and alone writes one of them, v1alpha1.AgeSecret. It runs in the agent.
//
//  1. Where there is no such Secret it makes a key of age and puts it there. The key is made in the member and stays there;
//     its public half, the recipient, is told.
//
//  2. Entries named *.agekey, of this Secret and any other in the namespace, are keys: one or more identities of age (X25519 or
//     post-quantum hybrid), or a private key of ssh. So people bring theirs.
//
//  3. The annotation v1alpha1.RotateAnnotation on its Secret has it make another key. The newest of its own is the one that people
//     encrypt for; the others stay, until somebody takes their entry out.
//
//  4. Whoever opens files waits until the keys have been read once.
//
//  5. What a team's package brings is opened with the keys in the team's namespace, read as the ServiceAccount as which the package
//     acts, and with none of the cluster's (OpenWith).
//
// Laws:
//   - The cluster's keys open what the platform delivers, and nothing else: an encrypted file lies in Git for everybody to copy.
//   - Unknown is never empty: a new key is made when the API server says that there is none, and for no other reason. If the Secret
//     is deleted while the agent runs, the keys that it had are put back.
//   - No key and nothing that was decrypted is logged, told or written to the disk. What is kept in memory is keys, and no values.
//   - An entry that cannot be read is named and left out; the others count.
//
// What is in files is package sops', what of it an object gets is package sealed's to say.
package keyring
