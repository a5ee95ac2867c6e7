package ending

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Detaching ends the deletion of a cluster that cannot end.
type Detaching struct {
	Cluster Cluster
	Hub     client.Client
	// Report has the UID of the Cluster: another one of its name, and what is of that, is left alone.
	Report Report
	// Write keeps the report outside of the hub as well. It is called before anything loses its finalizers.
	Write func(Report) error
	// Warn hears of what does not keep anybody from going on.
	Warn func(string)
	Now  func() time.Time
	// Patience is how long a part has to have blocked before it is let go.
	Patience time.Duration
	// Place is the ConfigMap that has the report, empty before that is written.
	Place client.ObjectKey

	seen map[types.UID]time.Time
}

// Left returns what there is of the Cluster. While that is there, it is what carries its name; then, what was seen before, and what
// that owns: another Cluster may have the name by now.
func (d *Detaching) Left(ctx context.Context) (Parts, error) {
	parts, err := d.Cluster.Gather(ctx, d.Hub)
	if err != nil {
		return parts, err
	}
	there, err := d.stands(ctx, parts.Root())
	if err != nil {
		return parts, err
	}
	known := map[types.UID]bool{d.Report.UID: true}
	for _, uid := range d.Report.Parts {
		known[uid] = true
	}
	for grown := true; grown; {
		grown = false
		for i := range parts.All {
			part := &parts.All[i]
			owned := slices.ContainsFunc(part.GetOwnerReferences(), func(o metav1.OwnerReference) bool { return known[o.UID] })
			if !known[part.GetUID()] && (there || owned) {
				known[part.GetUID()], grown = true, true
			}
		}
	}
	d.Report.Parts = slices.Sorted(maps.Keys(known))
	parts.All = slices.DeleteFunc(parts.All, func(part unstructured.Unstructured) bool { return !known[part.GetUID()] })
	return parts, nil
}

// stands says whether the Cluster was there while all parts were read: it was at their beginning, and is now.
func (d *Detaching) stands(ctx context.Context, root *unstructured.Unstructured) (bool, error) {
	if root == nil || root.GetUID() != d.Report.UID {
		return false, nil
	}
	now := root.DeepCopy()
	if err := d.Hub.Get(ctx, d.Cluster.Key, now); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return now.GetUID() == d.Report.UID, nil
}

// Step lets go what has blocked for long enough, and returns what is there still. The cluster has ended when that is nothing, and
// nothing is unread.
func (d *Detaching) Step(ctx context.Context) (Parts, error) {
	parts, err := d.Left(ctx)
	if err != nil {
		return parts, err
	}
	ripe := d.ripe(parts)
	if parts.Root() == nil {
		if err := d.sweep(ctx, parts); err != nil {
			return parts, err
		}
	}
	if len(ripe) == 0 {
		return parts, nil
	}
	kept, err := shelves(ctx, d.Hub, d.Cluster.Key)
	if err != nil {
		return parts, err
	}
	for _, b := range ripe {
		d.Report.Absorb(Report{UID: d.Report.UID, Orphans: []Orphan{OrphanOf(&b.Part)}})
	}
	if err := d.record(ctx, kept, parts.Unread); err != nil {
		return parts, err
	}
	d.tell(ctx, ripe)
	for _, b := range ripe {
		if err := d.let(ctx, b); err != nil {
			return parts, err
		}
	}
	return parts, nil
}

// End writes the last report, of a Cluster of which nothing is left but what cannot be read. There is none when nothing was let go.
func (d *Detaching) End(ctx context.Context, left Parts) error {
	kept, err := shelves(ctx, d.Hub, d.Cluster.Key)
	if err != nil {
		return err
	}
	begun := slices.ContainsFunc(kept, func(shelf *corev1.ConfigMap) bool { return shelf.Data[entry(d.Report.UID)] != "" })
	if !begun && len(d.Report.Orphans) == 0 && len(left.Unread) == 0 {
		return nil
	}
	if len(left.Unread) == 0 {
		d.Report.Ended = new(metav1.NewTime(d.Now()))
	}
	return d.record(ctx, kept, left.Unread)
}

// ripe returns what has blocked for long enough.
func (d *Detaching) ripe(parts Parts) []Blocker {
	var ripe []Blocker
	seen, now := map[types.UID]time.Time{}, d.Now()
	for _, b := range Blockers(parts.All) {
		first, known := d.seen[b.Part.GetUID()]
		if !known {
			first = now
		}
		seen[b.Part.GetUID()] = first
		if now.Sub(first) >= d.Patience {
			ripe = append(ripe, b)
		}
	}
	d.seen = seen
	return ripe
}

// sweep deletes what belonged to a Cluster that is gone, and nothing of another one of its name. A garbage collector would, if one runs.
func (d *Detaching) sweep(ctx context.Context, parts Parts) error {
	for i := range parts.All {
		part := &parts.All[i]
		if part.GetDeletionTimestamp() != nil {
			continue
		}
		if err := d.Hub.Delete(ctx, part.DeepCopy(), client.Preconditions{UID: new(part.GetUID())}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting %s, whose cluster is gone: %w", Name(part), err)
		}
	}
	return nil
}

// let takes the finalizers off a part that is in the report, and not off another one of its name.
func (d *Detaching) let(ctx context.Context, b Blocker) error {
	patch := fmt.Appendf(nil, `{"metadata":{"uid":%q,"finalizers":null}}`, b.Part.GetUID())
	err := d.Hub.Patch(ctx, b.Part.DeepCopy(), client.RawPatch(types.MergePatchType, patch))
	if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("taking the finalizers off %s: %w (a webhook of its provider that does not answer is deleted with `kubectl delete validatingwebhookconfigurations,mutatingwebhookconfigurations`, by its name)", Name(&b.Part), err)
	}
	return nil
}

// tell has an Event say what is let go. The report says it too: where no Event can be made, as in a namespace that is being deleted,
// that is no reason to stop.
func (d *Detaching) tell(ctx context.Context, ripe []Blocker) {
	for _, b := range ripe {
		event := &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.Part.GetNamespace(), GenerateName: d.Cluster.Key.Name + "-detached-"},
			InvolvedObject: corev1.ObjectReference{
				APIVersion: b.Part.GetAPIVersion(), Kind: b.Part.GetKind(), Namespace: b.Part.GetNamespace(), Name: b.Part.GetName(), UID: b.Part.GetUID(),
			},
			Type: corev1.EventTypeWarning, Reason: "Detached", Count: 1, FirstTimestamp: metav1.NewTime(d.Now()), LastTimestamp: metav1.NewTime(d.Now()),
			Source:  corev1.EventSource{Component: "umbel"},
			Message: fmt.Sprintf("Let go without its provider's word; ConfigMap %s/%s says what may be left of it", d.Place.Namespace, d.Place.Name),
		}
		if err := d.Hub.Create(ctx, event); err != nil {
			d.Warn(fmt.Sprintf("no Event tells of %s: %v", Name(&b.Part), err))
		}
	}
}
