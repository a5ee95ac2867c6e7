//go:build umbel_next

package wire

const ahead = 1
