package source

import (
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Newest returns the name of the newest version that a range, such as ">=1.2 <2", allows; empty when it allows none. Names
// that are no versions are passed over. A range that names no prerelease allows none, as Helm has it.
func Newest(names []string, within string) (string, error) {
	constraint, err := semver.NewConstraint(within)
	if err != nil {
		return "", fmt.Errorf("%q is no range of versions such as \">=1.2 <2\": %w", within, err)
	}
	var best *semver.Version
	var found string
	for _, name := range names {
		version, err := semver.NewVersion(name)
		if err != nil || !constraint.Check(version) {
			continue
		}
		// Of 1.2.0 and v1.2.0, which are the same version, the same one is taken each time.
		if best == nil || version.GreaterThan(best) || version.Equal(best) && strings.Compare(name, found) > 0 {
			best, found = version, name
		}
	}
	return found, nil
}
