package sealed

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Unquoted is what an API server said against a Secret, or an object that has decrypted values, as far as that can have none of them in it: the reason and the
// fields, and not its own words.
func Unquoted(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return "the API server's answer is not repeated here, since it may have values in it"
	}
	said := status.Status()
	if unauthorized.MatchString(said.Message) {
		return said.Message
	}
	why := fmt.Sprintf("the API server refused it (%d %s)", said.Code, said.Reason)
	if said.Details != nil {
		if said.Reason == metav1.StatusReasonNotFound {
			why += fmt.Sprintf(": %s %q", said.Details.Kind, said.Details.Name)
		}
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
	return why + "; what it says of it is not repeated here, since that may have values in it: `kubectl apply --dry-run=server -f FILE` shows it, after `sops decrypt` where that is encrypted"
}

// unauthorized is what an API server says to whoever may not do something. It has not looked at the object then.
var unauthorized = regexp.MustCompile(`^[a-z.]+ "[^"]*" is forbidden: User "[^"]*" cannot [a-z]+ resource "[a-z/]+" in API group "[a-z.]*" (in the namespace "[^"]*"|at the cluster scope)$`)

// withoutKeys is the name of a field without the keys of maps and lists, which are values where somebody wants them to be.
func withoutKeys(field string) string {
	before, _, found := strings.Cut(field, "[")
	if found {
		return before + "[…]"
	}
	return field
}
