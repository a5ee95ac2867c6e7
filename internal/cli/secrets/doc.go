// Package secrets answers: for whom is a secret encrypted, so that these clusters can open it? It is the verb `umbel secrets`.
//
// It reads what members say of themselves (v1alpha1.RecipientsProperty); that is public. To rotate, it puts an annotation on a
// Secret of the member, through the hub and as oneself: the member makes the key, and keeps it.
package secrets
