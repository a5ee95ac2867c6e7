package member

import (
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Health is an object's own word of how it is doing, by the rules of kstatus. The zero value means that nothing has
// been seen of it yet.
type Health struct {
	State   status.Status
	Message string
}

// OK says that the object is what it is to be, and Broken that it will not become that by itself.
func (h Health) OK() bool     { return h.State == status.CurrentStatus }
func (h Health) Broken() bool { return h.State == status.FailedStatus }

// Unknown is the health of an object of which nobody can tell.
func Unknown(why string) Health { return Health{status.UnknownStatus, why} }

// HealthOf computes the health of an object from its conditions.
func HealthOf(o *unstructured.Unstructured) Health {
	result, err := status.Compute(o)
	if err != nil {
		return Health{status.UnknownStatus, fmt.Sprintf("computing its health: %v", err)}
	}
	return Health{result.Status, result.Message}
}

var (
	Exists = Health{State: status.CurrentStatus}
	Absent = Health{State: status.NotFoundStatus, Message: "it does not exist"}
)
