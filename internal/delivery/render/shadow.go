//go:build !race

package render

// hardLimit is how many times the memory of a job the system lets the process have. Usually it is ended before, with a better reason; but
// it looks at its memory now and then, and one step may take all there is.
const hardLimit = 2
