//go:build !umbel_next && !umbel_afternext

package wire

import "google.golang.org/protobuf/proto"

// ahead is how many protocol versions this build is ahead of the source: none. Builds with the tag umbel_next or
// umbel_afternext are those that tests of version skew put beside this one.
const ahead = 0

// Stamp does nothing to a message that is about to be sent.
func Stamp(proto.Message) {}
