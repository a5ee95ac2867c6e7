package members

import (
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// boundedContests returns what an agent says of objects that several packages want, with every text bounded.
func boundedContests(contests []*wire.Contest) (bounded []*wire.Contest) {
	for _, c := range contests[:min(len(contests), v1alpha1.MaxContests)] {
		bounded = append(bounded, &wire.Contest{Object: clip(c.GetObject(), 512), Package: clip(c.GetPackage(), 317)})
	}
	return bounded
}

// contestDetails is how many bytes they take.
func contestDetails(contests []*wire.Contest) (n int) {
	for _, c := range contests {
		n += len(c.GetObject()) + len(c.GetPackage())
	}
	return n
}

// contestsOf translates them for the status.
func contestsOf(contests []*wire.Contest) (told []v1alpha1.Contest) {
	for _, c := range contests {
		if !strings.Contains(c.GetPackage(), "/") {
			continue // not the name of a package
		}
		told = append(told, v1alpha1.Contest{Object: c.GetObject(), Package: v1alpha1.PackageKey(c.GetPackage())})
	}
	return told
}
