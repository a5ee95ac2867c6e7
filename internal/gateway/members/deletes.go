package members

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// maxNames is how many objects what an agent says of deletes names.
const maxNames = 10

// boundedHeld returns what an agent says of deletes that wait, bounded.
func boundedHeld(held *wire.DeletesHeld) *wire.DeletesHeld {
	if held == nil {
		return nil
	}
	return &wire.DeletesHeld{
		Objects: held.GetObjects(), Holds: held.GetHolds(), Allowed: held.GetAllowed(),
		Protected: held.GetProtected(), Kept: held.GetKept(), Names: boundedNames(held.GetNames()),
	}
}

func boundedNames(names []string) []string {
	var bounded []string
	for _, name := range names[:min(len(names), maxNames)] {
		bounded = append(bounded, clip(name, 512))
	}
	return bounded
}

// heldOf is what stands in the status of deletes that wait.
func heldOf(held *wire.DeletesHeld) *v1alpha1.MemberDeletesHeld {
	if held == nil {
		return nil
	}
	return &v1alpha1.MemberDeletesHeld{
		Objects: count(held.GetObjects()), Holds: count(held.GetHolds()), Allowed: count(held.GetAllowed()),
		Protected: count(held.GetProtected()), Kept: count(held.GetKept()), Names: held.GetNames(),
	}
}

// holdingBack says of each package with deletes that wait for a word what they are.
func holdingBack(packages []v1alpha1.MemberPackage) []string {
	var held []string
	for _, p := range packages {
		if p.DeletesHeld != nil {
			held = append(held, string(p.Package)+": "+p.DeletesHeld.Describe(p.Release)+"; "+v1alpha1.ApproveDeletes(p.Package))
		}
	}
	return held
}

// count is a number as the API takes it, whatever an agent says.
func count(n uint32) int32 { return int32(min(n, 1<<31-1)) }

// deletionID is how agents name deletions.
var deletionID = regexp.MustCompile(`^[0-9a-f]{8}$`)

// deletionsHeard returns what an agent says that its journal holds, as far as the API takes it. It is never nil.
func deletionsHeard(said *wire.Deletions) []v1alpha1.MemberDeletion {
	heard := []v1alpha1.MemberDeletion{}
	for _, d := range said.GetItems()[:min(len(said.GetItems()), v1alpha1.MaxDeletions)] {
		cause := v1alpha1.DeletionCause(d.GetCause())
		known := cause == v1alpha1.DeletionWithinBudget || cause == v1alpha1.DeletionApproved || cause == v1alpha1.DeletionRemoved
		if !deletionID.MatchString(d.GetId()) || !known {
			continue
		}
		state, message := undoneAs(d.GetUndo())
		heard = append(heard, v1alpha1.MemberDeletion{
			ID: strings.Clone(d.GetId()), Package: v1alpha1.PackageKey(clip(d.GetPackage(), 253+1+63)),
			Release: clip(d.GetRelease(), 253), Revision: clip(d.GetRevision(), 256),
			Cause: cause, Approval: clip(d.GetApproval(), 64), Time: metav1.Time{Time: time.Unix(max(0, min(d.GetAtUnix(), 1<<33)), 0)},
			Objects: count(d.GetObjects()), Names: boundedNames(d.GetNames()), State: state, Message: message,
		})
	}
	return heard
}

// undoneAs says how far a deletion is undone.
func undoneAs(undo *wire.Undo) (v1alpha1.DeletionState, string) {
	if undo == nil {
		return v1alpha1.DeletionKept, ""
	}
	if !undo.GetDone() {
		return v1alpha1.DeletionUndoing, clip(undo.GetWaits(), maxMessage)
	}
	message := fmt.Sprintf("%d are back", undo.GetBack())
	if left := undo.GetLeft(); len(left) > 0 {
		message += "; not: " + strings.Join(left[:min(len(left), maxNames)], "; ")
	}
	return v1alpha1.DeletionUndone, clip(message, maxMessage)
}

// deletions returns what stands in the status: what the agent has, and what it had and has not any more, the newest first.
func deletions(before, heard []v1alpha1.MemberDeletion) []v1alpha1.MemberDeletion {
	after := slices.Clone(heard)
	for _, d := range before {
		if slices.ContainsFunc(heard, func(h v1alpha1.MemberDeletion) bool { return h.ID == d.ID }) {
			continue
		}
		if d.State != v1alpha1.DeletionUndone {
			d.State, d.Message = v1alpha1.DeletionLost, "the agent does not have it any more"
		}
		after = append(after, d)
	}
	slices.SortStableFunc(after, func(a, b v1alpha1.MemberDeletion) int {
		return cmp.Or(b.Time.Compare(a.Time.Time), strings.Compare(a.ID, b.ID))
	})
	if len(after) == 0 {
		return nil
	}
	return after[:min(len(after), v1alpha1.MaxDeletions)]
}

// toUndo are the deletions that are to be undone and are not yet, as far as the hub knows.
func toUndo(member *v1alpha1.MemberCluster) []string {
	var ids []string
	for _, id := range member.Spec.Undo {
		done := slices.ContainsFunc(member.Status.Deletions, func(d v1alpha1.MemberDeletion) bool {
			return d.ID == id && d.State == v1alpha1.DeletionUndone
		})
		if !done {
			ids = append(ids, id)
		}
	}
	return ids
}

// askBack notes what is to be undone on a member, and has the session ask again when there is more of it.
func (r *Registry) askBack(cluster v1alpha1.ClusterName, ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.record(cluster)
	if slices.Equal(rec.undo, ids) {
		return
	}
	rec.undo = ids
	if rec.presence != nil {
		select {
		case rec.presence.listed <- struct{}{}:
		default:
		}
	}
}

// tellDeletions tells of what was deleted, or brought back, since the status was written last.
func (c *Controller) tellDeletions(cluster v1alpha1.ClusterName, before, after []v1alpha1.MemberDeletion) {
	if c.registry.config.Deleted == nil {
		return
	}
	for _, d := range after {
		known := slices.IndexFunc(before, func(b v1alpha1.MemberDeletion) bool { return b.ID == d.ID })
		grown := known < 0 || before[known].Objects != d.Objects
		undone := d.State == v1alpha1.DeletionUndone && (known < 0 || before[known].State != d.State)
		if grown || undone {
			c.registry.config.Deleted(cluster, d)
		}
	}
}
