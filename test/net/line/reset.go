package line

import "encoding/binary"

// What is read of packets: https://www.rfc-editor.org/rfc/rfc791#section-3.1 and https://www.rfc-editor.org/rfc/rfc9293#section-3.1.
const (
	ipHeader, tcpHeader = 20, 20
	protocolTCP         = 6
	flagRST, flagACK    = 1 << 2, 1 << 4
)

// resets returns the packets that reset the connection of an IPv4 packet at both of its ends: where it goes and where it
// comes from. Each end takes the number that it expects next for a proof that the other one has sent it.
func resets(p []byte) (there, back []byte, is bool) {
	if len(p) < ipHeader || p[0]>>4 != 4 || p[9] != protocolTCP {
		return nil, nil, false
	}
	tcp := p[min(len(p), int(p[0]&15)*4):]
	if len(tcp) < tcpHeader || tcp[13]&flagRST != 0 {
		return nil, nil, false
	}
	there = bare(p[12:16], p[16:20])
	copy(there[ipHeader:], tcp[0:8]) // ports, and the number of the first byte
	finish(there)
	if tcp[13]&flagACK == 0 {
		return there, nil, true
	}
	back = bare(p[16:20], p[12:16])
	copy(back[ipHeader:], tcp[2:4])
	copy(back[ipHeader+2:], tcp[0:2])
	copy(back[ipHeader+4:], tcp[8:12])
	finish(back)
	return there, back, true
}

// bare returns a reset from one address to another, without ports and numbers.
func bare(from, to []byte) []byte {
	p := make([]byte, ipHeader+tcpHeader)
	p[0], p[8], p[9] = 4<<4|ipHeader/4, 64, protocolTCP
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	copy(p[12:], from)
	copy(p[16:], to)
	p[ipHeader+12], p[ipHeader+13] = tcpHeader/4<<4, flagRST
	return p
}

// finish puts the checksums in.
func finish(p []byte) {
	binary.BigEndian.PutUint16(p[10:], sum(p[:ipHeader], 0))
	binary.BigEndian.PutUint16(p[ipHeader+16:], sum(p[12:], protocolTCP+tcpHeader)) // with the addresses, which stand before
}

// sum is the Internet checksum (RFC 1071) of an even number of bytes and a number beside them.
func sum(p []byte, beside uint32) uint16 {
	for i := 0; i < len(p); i += 2 {
		beside += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for beside > 0xffff {
		beside = beside>>16 + beside&0xffff
	}
	return ^uint16(beside)
}
