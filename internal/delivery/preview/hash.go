package preview

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Hash tells what would be added and changed from anything else that would be, with every line that differs. What stands around
// those lines, and is not changed, does not count. The changes are in order. 32 hex digits.
//
// What leaves does not count: who knows what the member holds sees less than who searches for labels, and never more.
func (p *Preview) Hash() string {
	sum := sha256.New()
	for _, c := range p.Changes {
		if c.Action == Delete || c.Action == LetGo {
			continue
		}
		fmt.Fprintf(sum, "%s %s\n", c.Action, c.Object)
		if c.Problem != "" {
			fmt.Fprintf(sum, "problem %s\n", c.Problem)
		}
		for line := range strings.Lines(c.Diff) {
			if line[0] == '+' || line[0] == '-' {
				fmt.Fprintf(sum, "%d %s", len(line), line)
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// Deletes names what would be deleted.
func (p *Preview) Deletes() (objects []string) {
	for _, c := range p.Changes {
		if c.Action == Delete {
			objects = append(objects, c.Object)
		}
	}
	return objects
}
