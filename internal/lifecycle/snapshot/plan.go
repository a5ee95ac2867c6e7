package snapshot

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Snapshot is what is said of one: what etcd of a cluster held at one moment.
type Snapshot struct {
	// Name is from when it was taken, as NameOf has it.
	Name string `json:"name"`
	// Cluster is whose, as NAMESPACE/NAME.
	Cluster string    `json:"cluster"`
	Time    time.Time `json:"time"`
	// Size in bytes, and SHA256 in hex, of the file.
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// Version of Kubernetes that the cluster ran.
	Version string `json:"version"`
	// Services is the range of its Services' addresses.
	Services string `json:"services"`
}

const nameLayout = "20060102-150405"

var nameForm = regexp.MustCompile(`^\d{8}-\d{6}$`)

// NameOf is the name of a snapshot that is taken at that time.
func NameOf(at time.Time) string { return at.UTC().Format(nameLayout) }

// ParseSchedule reads the five fields of cron, or @daily and the like, as times in UTC.
func ParseSchedule(text string) (cron.Schedule, error) {
	if strings.Contains(text, "TZ=") {
		return nil, fmt.Errorf("%q: a schedule is in UTC", text)
	}
	schedule, err := cron.ParseStandard(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no schedule of five fields, such as 0 */6 * * *: %w", text, err)
	}
	return schedule, nil
}

// Due returns when something that was done last at that time is to be done next by a schedule, offset later. It is in the past when it
// is overdue; however often it was missed, it is due once.
func Due(schedule cron.Schedule, last time.Time, offset time.Duration) time.Time {
	return schedule.Next(last.UTC().Add(-offset)).Add(offset)
}

// Offset is a time within jitter that is always the same for an id, and spread evenly over ids.
func Offset(id string, jitter time.Duration) time.Duration {
	if jitter <= 0 {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(id))
	return time.Duration(h.Sum64() % uint64(jitter)).Truncate(time.Second)
}

// Surplus returns which snapshots are too many, when retain of them are to be kept.
func Surplus(all []Snapshot, retain int) []Snapshot {
	sorted := newestFirst(all)
	return sorted[min(len(sorted), max(1, retain)):]
}

func newestFirst(all []Snapshot) []Snapshot {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b Snapshot) int { return strings.Compare(b.Name, a.Name) })
	return sorted
}

// Choose returns the snapshot of a name; the newest for no name.
func Choose(all []Snapshot, name string) (Snapshot, error) {
	sorted := newestFirst(all)
	i := slices.IndexFunc(sorted, func(s Snapshot) bool { return name == "" || s.Name == name })
	if i < 0 && name == "" {
		return Snapshot{}, fmt.Errorf("the target has no snapshot")
	}
	if i < 0 {
		return Snapshot{}, fmt.Errorf("the target has no snapshot %s", name)
	}
	return sorted[i], nil
}

// check says what is wrong with what is said of a snapshot of a name.
func (s Snapshot) check(name string) error {
	if s.Name != name || !nameForm.MatchString(name) || s.Size <= 0 || len(s.SHA256) != 64 {
		return fmt.Errorf("what is said of snapshot %q cannot be read", name)
	}
	return nil
}
