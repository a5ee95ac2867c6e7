package apply

import (
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// health is an object's own word of how it is doing, by the rules of kstatus. The zero value means that nothing has
// been seen of it yet.
type health struct {
	state   status.Status
	message string
}

func (h health) ok() bool     { return h.state == status.CurrentStatus }
func (h health) broken() bool { return h.state == status.FailedStatus }

// healthOf computes the health of an object from its conditions.
func healthOf(o *unstructured.Unstructured) health {
	result, err := status.Compute(o)
	if err != nil {
		return health{status.UnknownStatus, fmt.Sprintf("computing its health: %v", err)}
	}
	return health{result.Status, result.Message}
}

var (
	exists = health{state: status.CurrentStatus}
	absent = health{state: status.NotFoundStatus, message: "it does not exist"}
)
