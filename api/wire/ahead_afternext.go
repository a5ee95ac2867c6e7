//go:build umbel_afternext

package wire

const ahead = 2
