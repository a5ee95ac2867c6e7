package sealed

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Unquoted is what an API server said against an object that has decrypted values, as far as that can have none of them in it: the reason and the
// fields, and not its own words.
func Unquoted(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return "the API server's answer is not repeated here, since it may have decrypted values in it"
	}
	said := status.Status()
	why := fmt.Sprintf("the API server refused it (%d %s)", said.Code, said.Reason)
	if said.Details != nil {
		var fields []string
		for _, cause := range said.Details.Causes {
			if cause.Field != "" {
				fields = append(fields, fmt.Sprintf("%s (%s)", withoutKeys(cause.Field), cause.Type))
			}
		}
		if slices.Sort(fields); len(fields) > 0 {
			why += ": " + strings.Join(slices.Compact(fields), ", ")
		}
	}
	return why + "; what it says of it is not repeated here, since that may have decrypted values in it: `sops decrypt FILE | kubectl apply --dry-run=server -f -` shows it"
}

// withoutKeys is the name of a field without the keys of maps and lists, which are values where somebody wants them to be.
func withoutKeys(field string) string {
	before, _, found := strings.Cut(field, "[")
	if found {
		return before + "[…]"
	}
	return field
}
