package delivery

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
	"umbel.dev/umbel/internal/delivery/source"
)

const (
	// retryFetch is the longest wait after a failed fetch, however seldom the source is polled.
	retryFetch = 30 * time.Second
	// retryMirror is the wait before a commit that cannot be read is fetched again.
	retryMirror = 5 * time.Second
)

// fetch finds out what the source points at. It does not wait: when a fetch is due it runs in the background, and its
// end is the occasion for the next pass.
func (c *Controller) fetch(_ context.Context, v *visit) error {
	if v.seen.Bar != (decide.Bar{}) {
		v.unasked = true
		return nil
	}
	if inline := v.pkg.Spec.Source.Inline; inline != nil {
		v.commit = inlineRevision(inline)
		v.set(metav1.Condition{
			Type: v1alpha1.ConditionFetched, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonFetched,
			Message: v1alpha1.Counted(len(inline.Objects), "object") + " in the Package itself",
		})
		return nil
	}
	at, ok := placeOf(v.pkg.Namespace, v.pkg.Spec.Source)
	if !ok {
		return nil // the API does not take such a Package
	}
	now := c.now()
	// Whatever stands there at the first pass is answered by the fetch that every start makes.
	if asked := v.pkg.Annotations[v1alpha1.RefreshAnnotation]; asked != v.memo.refresh {
		if v.memo.visited {
			v.memo.notOlder = now
		}
		v.memo.refresh = asked
	}
	// Who pushes and then makes a Package means what was pushed, and not what somebody else's Package was answered before.
	unfetched := meta.FindStatusCondition(v.pkg.Status.Conditions, v1alpha1.ConditionFetched) == nil
	if created := v.pkg.CreationTimestamp.Time; unfetched && !v.memo.visited && created.Before(now) {
		v.memo.notOlder = created
	}
	v.memo.visited = true
	listed := basesOf(v.pkg)
	pins := make([]v1alpha1.ReleasedBase, len(listed))
	head := c.head(v, at.ref, at.poll, unfetched)
	failed, message := head.Err, found(at.ref, head.Revision)
	for i, b := range listed { // all of them are asked, whatever becomes of the first
		remote := c.head(v, b.ref, at.poll, unfetched)
		if remote.Err != nil && failed == nil {
			failed = b.fails(remote.Err)
		}
		pins[i] = b.pin(remote.ID)
		if i < toldBases {
			message += fmt.Sprintf("; %s of %s is at %s", b.Ref, pins[i].URL, source.Short(remote.ID))
		}
	}
	if more := len(listed) - toldBases; more > 0 {
		message += fmt.Sprintf("; %s more, which the Release names", v1alpha1.Counted(more, "remote base"))
	}
	if v.unasked {
		return nil
	}
	if failed != nil {
		v.fetchFailed(failed)
		return nil
	}
	v.commit, v.head, v.fetched, v.pins = head.ID, head.Revision, head.At, pins
	v.set(metav1.Condition{Type: v1alpha1.ConditionFetched, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonFetched, Message: message})
	return nil
}

// toldBases is how many remote bases a condition names, whose text the API bounds.
const toldBases = 3

// head is what is known of a version of a source. When that is older than the Package asks for, it is being fetched, and the visit notes
// when there is no answer at all yet.
func (c *Controller) head(v *visit, ref source.Ref, poll time.Duration, unfetched bool) source.Head {
	now := c.now()
	head, _ := c.fetcher.Head(ref, time.Time{}) // what is known
	every := pollEvery(v.key, poll, head.Err)
	notBefore := now.Add(-every)
	if v.memo.notOlder.After(notBefore) {
		notBefore = v.memo.notOlder
	}
	head, fresh := c.fetcher.Head(ref, notBefore)
	if fresh {
		v.again(head.At.Add(every).Sub(now))
	}
	v.unasked = v.unasked || head.At.IsZero() || unfetched && head.At.Before(v.memo.notOlder)
	return head
}

// fetchFailed notes why the source cannot be read.
func (v *visit) fetchFailed(err error) {
	condition := metav1.Condition{
		Type: v1alpha1.ConditionFetched, Status: metav1.ConditionFalse,
		Reason: v1alpha1.ReasonFetchFailed, Message: err.Error(),
	}
	if known, ok := errors.AsType[*source.Error](err); ok {
		condition.Reason = known.Reason
	}
	condition.Message = v.andStays(condition.Message)
	v.set(condition)
}

// andStays adds to what is wrong that the last Release stays, when there is one.
func (v *visit) andStays(message string) string {
	if v.seen.Release == nil {
		return message
	}
	return fmt.Sprintf("%s; release %s stays", message, v.seen.Release.Name)
}

// mirrorFailed notes why a commit cannot be read that was fetched. A mirror that suffered is made anew by a fetch.
func (c *Controller) mirrorFailed(v *visit, err error) {
	v.fetchFailed(err)
	if known, ok := errors.AsType[*source.Error](err); !ok || known.Reason == v1alpha1.ReasonFetchFailed {
		v.memo.notOlder = c.now()
		v.again(retryMirror)
	}
}

// found says what a source is at.
func found(ref source.Ref, at source.Revision) string {
	if ref.Range == "" {
		return fmt.Sprintf("%s is at %s", ref.Version(), source.Short(at.ID))
	}
	return fmt.Sprintf("%s, the newest version that %q allows, is at %s", at.Name, ref.Range, source.Short(at.ID))
}

// pollEvery is how old a fetch may be: the interval of the spec give or take a tenth, so that Packages spread out; less
// after a failure.
func pollEvery(key v1alpha1.PackageKey, every time.Duration, failure error) time.Duration {
	if failure != nil {
		every = min(every, retryFetch)
	}
	hash := fnv.New32a()
	hash.Write([]byte(key)) // never fails
	jitter := float64(hash.Sum32())/float64(1<<32)*0.2 - 0.1
	return every + time.Duration(jitter*float64(every))
}
