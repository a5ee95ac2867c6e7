package members

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

const (
	maxDriftFields = 8
	maxDriftText   = 256
)

// boundedDrifts returns what an agent says of drifts, with every text bounded.
func boundedDrifts(drifts []*wire.Drift) (bounded []*wire.Drift) {
	for _, d := range drifts[:min(len(drifts), v1alpha1.MaxDrifts)] {
		b := &wire.Drift{
			Object: clip(d.GetObject(), 512), Action: d.GetAction(), By: clip(d.GetBy(), maxDriftText), User: clip(d.GetUser(), maxDriftText),
			Deleted: d.GetDeleted(),
			Time:    d.GetTime(), Count: d.GetCount(),
		}
		for _, field := range d.GetFields()[:min(len(d.GetFields()), maxDriftFields)] {
			b.Fields = append(b.Fields, clip(field, maxDriftText))
		}
		bounded = append(bounded, b)
	}
	return bounded
}

// driftDetails is how many bytes drifts take.
func driftDetails(drifts []*wire.Drift) (n int) {
	for _, d := range drifts {
		n += len(d.GetObject()) + len(d.GetBy()) + len(d.GetUser())
		for _, field := range d.GetFields() {
			n += len(field)
		}
	}
	return n
}

var driftActions = map[wire.Drift_Action]v1alpha1.DriftAction{
	wire.Drift_REPAIRED: v1alpha1.DriftRepaired,
	wire.Drift_REPORTED: v1alpha1.DriftReported,
	wire.Drift_FOUGHT:   v1alpha1.DriftFought,
}

// driftsOf translates drifts for the status. An action of a later version is left out with its drift: the API would not
// take it.
func driftsOf(drifts []*wire.Drift) (told []v1alpha1.Drift) {
	for _, d := range drifts {
		action, known := driftActions[d.GetAction()]
		if !known {
			continue
		}
		told = append(told, v1alpha1.Drift{
			Object: d.GetObject(), Action: action, By: d.GetBy(), User: d.GetUser(), Fields: d.GetFields(), Deleted: d.GetDeleted(),
			Time: metav1.NewTime(time.Unix(d.GetTime(), 0).UTC()), Count: d.GetCount(),
		})
	}
	return told
}
