package apply

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// stage is the place of a kind in the order of applying; pruning goes the other way round.
type stage int

const (
	stageFoundations stage = iota // what others live in or are made of
	stageObjects                  // everything else
	stageGates                    // what can stop others from being written, so it comes last
	stageCount
)

func stageOf(gk schema.GroupKind) stage {
	switch gk {
	case schema.GroupKind{Kind: "Namespace"},
		schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"},
		schema.GroupKind{Group: "scheduling.k8s.io", Kind: "PriorityClass"},
		schema.GroupKind{Group: "storage.k8s.io", Kind: "StorageClass"}:
		return stageFoundations
	case schema.GroupKind{Group: "apiregistration.k8s.io", Kind: "APIService"}:
		return stageGates
	}
	if gk.Group == "admissionregistration.k8s.io" {
		return stageGates
	}
	return stageObjects
}

// desired is what an object should be. The zero value means that it should not be.
type desired struct {
	present  bool
	hash     uint64 // of the bytes that are sent
	takeOver bool   // force, whoever owns the fields
	leave    bool   // what others do to it is told, and left
}

// applied is what the agent did to an object last. The zero value means that it never did anything.
type applied struct {
	hash    uint64 // of the bytes that were sent
	uid     types.UID
	owned   uint64 // of our entry in managedFields, as the server returned it
	adopted bool   // the object was there before us
	unsure  bool   // something may have been applied, and nobody knows how that ended
}

// action is what has to be done to an object.
type action int

const (
	actNothing action = iota
	actApply          // server-side apply; stop at conflicts
	actRestore        // server-side apply that takes the fields: our own back, or others' when the object asks for it
)

// judge compares what should be with what was done and what is. It is level-triggered: however many events came,
// the answer depends on the latest state alone.
//
// Another manager that changes a field of ours takes its ownership, so our entry in managedFields changes; one that
// changes other fields leaves it as it was. Comparing that entry therefore finds drift without reading any field,
// whatever the server defaulted, normalised or merged.
func judge(want desired, did applied, is member.Seen) action {
	switch {
	case !want.present:
		return actNothing // deleting is for prune alone
	case did.hash != want.hash && want.takeOver:
		return actRestore
	case did.hash != want.hash:
		return actApply
	case departed(did, is) && !want.leave:
		return actRestore
	}
	return actNothing
}

// departed says whether an object is not what was applied to it. Unknown is never drift.
func departed(did applied, is member.Seen) bool {
	return is.Version != 0 && (is.Gone || is.Owned != did.owned || is.UID != did.uid)
}

// A fight is two controllers that undo each other at once, again and again. Each repair fills a bucket that leaks slowly;
// when it is full, that is a fight: from then on each repair doubles a pause from the first to the longest, until a
// quiet window ends it. An object that people or tests change now and then never gets there.
const (
	fightBurst        = 5               // repairs that fill the bucket
	fightLeak         = 5 * time.Second // in which one of them leaks out
	fightWindow       = time.Minute
	fightFirstPause   = time.Second
	fightLongestPause = 5 * time.Minute
)

// bout is the history of the repairs of one object.
type bout struct {
	level  float64   // of the bucket after the latest repair
	last   time.Time // of the latest repair
	rounds int       // repairs since the fight began; 0 while there is none
}

// next says how long the next repair has to wait at now; 0 means that it may start.
func (b bout) next(now time.Time) time.Duration {
	return max(0, b.pause()-now.Sub(b.last))
}

// pause is the time between the latest repair and the next.
func (b bout) pause() time.Duration {
	if b.rounds == 0 {
		return 0
	}
	return min(fightFirstPause<<min(b.rounds-1, 16), fightLongestPause)
}

// fighting says whether somebody undoes the repairs.
func (b bout) fighting(now time.Time) bool {
	return b.rounds > 0 && now.Sub(b.last) < fightWindow+b.pause()
}

// repaired returns the history after a repair at now.
func (b bout) repaired(now time.Time) bout {
	since := now.Sub(b.last)
	after := bout{level: max(0, b.level-float64(since)/float64(fightLeak)) + 1, last: now}
	if b.fighting(now) {
		after.rounds = b.rounds + 1
	} else if after.level >= fightBurst {
		after.rounds = 1
	}
	return after
}

// pruneOrder returns keys in the order in which they are deleted, those together that may go at the same time: gates
// first, foundations last, and within a stage what depends on others before those: level is how many come before an object
// when it is applied.
func pruneOrder(keys []bundle.Key, level func(bundle.Key) int) [][]bundle.Key {
	turns := map[[2]int][]bundle.Key{}
	for _, key := range keys {
		turn := [2]int{-int(stageOf(schema.GroupKind{Group: key.Group, Kind: key.Kind})), -level(key)}
		turns[turn] = append(turns[turn], key)
	}
	var order [][]bundle.Key
	for _, turn := range slices.SortedFunc(maps.Keys(turns), func(a, b [2]int) int { return slices.Compare(a[:], b[:]) }) {
		slices.SortFunc(turns[turn], bundle.Key.Compare)
		order = append(order, turns[turn])
	}
	return order
}

// retryAfter is the pause before a package with failures is tried again.
func retryAfter(attempt int) time.Duration {
	return min(time.Second<<min(attempt, 6), time.Minute)
}
