// A module of its own: what is compared here is no dependency of the product.
module umbel.dev/umbel/tools/mux

go 1.26.0

require (
	github.com/hashicorp/yamux v0.1.2
	github.com/quic-go/quic-go v0.61.0
	github.com/xtaci/smux v1.5.58
	golang.org/x/net v0.62.0
	umbel.dev/umbel v0.0.0
)

require (
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace umbel.dev/umbel => ../..
