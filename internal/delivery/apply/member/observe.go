package member

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/apply/fields"
	"umbel.dev/umbel/internal/delivery/sealed"
)

// Seen is the state of an object on the member, as an event or a response told it.
type Seen struct {
	Version uint64 // resourceVersion; 0 when nothing has been seen
	Gone    bool
	UID     types.UID
	Owned   uint64 // of our entry in managedFields; 0 when there is none
	By      string // the manager that changed the object last, other than us
}

// Observe reduces an object's metadata to what judging needs.
func Observe(o metav1.Object) Seen {
	version, _ := strconv.ParseUint(o.GetResourceVersion(), 10, 64) // 0 reads as unknown
	is := Seen{Version: version, UID: o.GetUID()}
	var latest time.Time
	for _, entry := range o.GetManagedFields() {
		if fields.IsOurs(entry) {
			is.Owned = entryHash(entry)
			continue
		}
		if entry.Subresource == "" && entry.Time != nil && entry.Time.After(latest) {
			latest, is.By = entry.Time.Time, entry.Manager
		}
	}
	return is
}

func entryHash(entry metav1.ManagedFieldsEntry) uint64 {
	h := xxhash.New()
	_, _ = h.WriteString(entry.APIVersion)
	if entry.Time != nil {
		_, _ = h.WriteString(strconv.FormatInt(entry.Time.Unix(), 10))
	}
	if entry.FieldsV1 != nil {
		_, _ = h.Write(entry.FieldsV1.GetRawBytes())
	}
	return h.Sum64()
}

// shared says whether somebody else made fields of an object, or made the object itself before our entry. The server
// takes both times while it creates an object, in whole seconds, so they may be one apart. An entry of ours that is older than
// the object is of one that we brought back as it was.
func shared(o metav1.Object) bool {
	for _, entry := range o.GetManagedFields() {
		if entry.Subresource != "" {
			continue // a controller's word on it, not a claim to it
		}
		if !fields.IsOurs(entry) || entry.Time != nil && entry.Time.Sub(o.GetCreationTimestamp().Time) > time.Second {
			return true
		}
	}
	return false
}

// Explain says in a sentence why the API server refused an object.
func Explain(err error) string {
	if apierrors.IsConflict(err) {
		if fields := conflicts(err); fields != "" {
			return fields + "; leave the field out of the source, or let Umbel have it with the annotation " +
				v1alpha1.TakeOverAnnotation + `: "true" on the object`
		}
	}
	if meta.IsNoMatchError(err) {
		return err.Error() + ": the cluster does not have this kind; is its CustomResourceDefinition part of a package?"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("the API server did not answer within %s", requestTimeout)
	}
	return err.Error()
}

// ExplainUnquoted says why the API server refused an object, without its own words: they may quote values.
func ExplainUnquoted(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Code == 0 {
		return Explain(err) // nobody answered
	}
	if apierrors.IsConflict(err) {
		return keysOfLists.ReplaceAllString(Explain(err), "[…]") // it names fields and their owners
	}
	return sealed.Unquoted(err)
}

// keysOfLists are in the names of fields what an item of a list is known by, which is a value.
var keysOfLists = regexp.MustCompile(`\[[^\]]*\]`)

// conflicts names the fields that other managers own, and the managers.
func conflicts(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return ""
	}
	var parts []string
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			parts = append(parts, fmt.Sprintf("field %s: %s", cause.Field, cause.Message))
		}
	}
	slices.Sort(parts)
	return strings.Join(slices.Compact(parts), ", ")
}
