//go:build umbel_next || umbel_afternext

package wire

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Stamp adds what no other build knows to a message that is about to be sent: a field of a number that nobody has, to every
// message of the session and to what is inside of it.
func Stamp(message proto.Message) {
	const number = 1000
	novel := protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), "of a later version")
	m := message.ProtoReflect()
	m.SetUnknown(novel)
	if field := m.WhichOneof(m.Descriptor().Oneofs().ByName("message")); field != nil {
		m.Get(field).Message().SetUnknown(novel)
	}
}
