package preview

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Hash tells what would happen from anything else that would: what is added, changed and deleted, with every line that
// differs. What stands around those lines, and is not changed, does not count. The changes are in order. 32 hex digits.
func (p *Preview) Hash() string {
	sum := sha256.New()
	for _, c := range p.Changes {
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
