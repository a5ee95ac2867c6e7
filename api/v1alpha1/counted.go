package v1alpha1

import (
	"fmt"
	"strings"
)

// number is anything that things are counted with.
type number interface {
	~int | ~int32 | ~int64 | ~uint32
}

// Counted is a number and what it counts, as messages say it: 1 object, 2 objects. The noun is in the singular, and has a
// regular plural.
func Counted[N number](n N, noun string) string {
	return fmt.Sprintf("%d %s", n, Agreeing(n, noun, noun+"s"))
}

// Agreeing is the word for one, or the word for any other number.
func Agreeing[N number](n N, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Few names the first of some, so many at the most, and counts the others: a, b and 3 more.
func Few[T ~string](names []T, most int) string {
	var text strings.Builder
	for i, name := range names[:min(most, len(names))] {
		if i > 0 {
			text.WriteString(", ")
		}
		text.WriteString(string(name))
	}
	if more := len(names) - most; more > 0 {
		fmt.Fprintf(&text, " and %d more", more)
	}
	return text.String()
}
