package request

import (
	"math"

	"github.com/prometheus/prometheus/model/value"
)

// Ended is the value that says that a series has ended (https://prometheus.io/docs/prometheus/latest/querying/basics/#staleness): from its
// time on it is not found any more, where else it would be for five minutes.
var Ended = math.Float64frombits(value.StaleNaN)
