// Package outgoing answers: what does an agent send to its API server for an object of a package?
//
// The agent asks it of what it applies (package apply), `umbel plan` and a plan's check of what it looks at (package preview), and
// `umbel adopt` of what it compares: what people are shown is what will be done, since there is one answer.
//
//  1. The encrypted files are taken out of the object; its values are decrypted in the member alone.
//  2. The stringData of a Secret becomes data, as the API server makes it. Ownership of fields is kept where they were sent, and nothing
//     ever changes in stringData on the server's side: whoever changed a value would not be seen.
//  3. The label of the package is put on.
//  4. What the object asks for is read from its annotations.
//
// It decides, and neither reads nor writes anything.
package outgoing
