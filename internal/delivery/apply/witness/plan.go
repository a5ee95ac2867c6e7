package witness

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// Question asks who it was.
type Question struct {
	// Place is the object.
	Place Place
	// Deleted: it was deleted. Otherwise it was changed, or it lost the label by which it is watched.
	Deleted bool
	// UID and Labels of what was deleted; empty when they are not known.
	UID    types.UID
	Labels map[string]string
	// Manager is who owns the fields now that were taken; empty when nobody does.
	Manager string
	// Since is when the object was last seen as it should be, zero when that is not known. Noticed is when it was not any more.
	Since, Noticed time.Time
}

// Answer is who it was.
type Answer struct {
	User string
	// Manager is the field manager, or else the program, that the request named.
	Manager string
}

// How long before it was noticed a request may have come. A deletion takes as long as finalizers do.
const (
	patience         = 10 * time.Second
	deletionPatience = time.Minute
)

// who finds among deeds whose it was. Nobody is named where it may have been another one.
func who(q Question, deeds []deed) (Answer, bool) {
	var exact, deletions, changes []deed
	for _, d := range deeds {
		switch {
		case !d.concerns(q) || d.received.After(q.Noticed):
		case d.deleted && q.UID != "" && d.uid == q.UID:
			exact = append(exact, d)
		case d.deleted && q.UID != "" && d.uid != "" || !d.received.After(q.Since):
		case d.deleted && q.Noticed.Sub(d.received) <= deletionPatience:
			deletions = append(deletions, d)
		case !d.deleted && q.Noticed.Sub(d.received) <= patience && (q.Deleted || q.Manager == "" || q.Manager == d.manager):
			changes = append(changes, d)
		}
	}
	if !q.Deleted {
		return only(changes)
	}
	for _, candidates := range [][]deed{exact, deletions, changes} {
		if len(candidates) > 0 {
			return only(candidates)
		}
	}
	return Answer{}, false
}

// concerns says whether a deed is about an object, or about all of its kind and namespace that have some labels.
func (d deed) concerns(q Question) bool {
	if d.place.Name != "" {
		return d.place == q.Place
	}
	selector, err := labels.Parse(d.labels)
	return err == nil && d.place.Group == q.Place.Group && d.place.Resource == q.Place.Resource &&
		(d.place.Namespace == "" || d.place.Namespace == q.Place.Namespace) && selector.Matches(labels.Set(q.Labels))
}

// only returns who did all of it.
func only(deeds []deed) (Answer, bool) {
	if len(deeds) == 0 || slices.ContainsFunc(deeds, func(d deed) bool { return d.user != deeds[0].user }) {
		return Answer{}, false
	}
	last := slices.MaxFunc(deeds, func(a, b deed) int { return cmp.Compare(a.received.UnixNano(), b.received.UnixNano()) })
	return Answer{User: last.user, Manager: last.manager}, true
}
