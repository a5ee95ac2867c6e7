//go:build race

package render

// hardLimit has room for what the race detector notes of all memory.
const hardLimit = 8
