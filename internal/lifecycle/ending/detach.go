package ending

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
)

// Report is what may be left of a cluster that was detached.
type Report struct {
	Cluster string      `json:"cluster"`
	Begun   metav1.Time `json:"begun"`
	// Orphans are what was let go without its provider's word.
	Orphans []Orphan `json:"orphans"`
	// Inside is what the cluster said was in it, as far as it could be asked: volumes and load balancers.
	Inside []string `json:"inside,omitempty"`
	// Unread are kinds whose objects could not be read, and why: they are not in Orphans.
	Unread []string `json:"unread,omitempty"`
}

// Encode returns the report as YAML.
func (r Report) Encode() ([]byte, error) { return yaml.Marshal(r) }

// Detaching ends the deletion of a cluster that cannot end.
type Detaching struct {
	Cluster Cluster
	// UID is that of the Cluster: another one of its name is left alone.
	UID    types.UID
	Hub    client.Client
	Report Report
	// Write keeps the report outside of the hub as well. It is called before anything loses its finalizers.
	Write func(Report) error
	Now   func() time.Time
	// Patience is how long a part has to have blocked before it is let go.
	Patience time.Duration

	seen    map[types.UID]time.Time
	orphans map[types.UID]Orphan
}

// Step lets go what has blocked for long enough, and returns what is there still. The cluster has ended when that is nothing.
func (d *Detaching) Step(ctx context.Context) (Parts, error) {
	parts, err := d.Cluster.Gather(ctx, d.Hub)
	if err != nil {
		return parts, err
	}
	root := parts.Root()
	if root != nil && root.GetUID() != d.UID {
		return Parts{}, nil
	}
	ripe := d.ripe(parts)
	if root == nil {
		if err := d.sweep(ctx, parts); err != nil {
			return parts, err
		}
	}
	if len(ripe) == 0 {
		return parts, nil
	}
	if err := d.keep(ctx, ripe, parts.Unread); err != nil {
		return parts, err
	}
	for _, b := range ripe {
		if err := d.let(ctx, b); err != nil {
			return parts, err
		}
	}
	return parts, nil
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

// sweep deletes what belonged to a Cluster that is gone. A garbage collector would, if one runs.
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

// keep writes what is let go now, beside what was before, into the report.
func (d *Detaching) keep(ctx context.Context, ripe []Blocker, unread []string) error {
	if d.orphans == nil {
		d.orphans = map[types.UID]Orphan{}
	}
	for _, b := range ripe {
		d.orphans[b.Part.GetUID()] = OrphanOf(&b.Part)
	}
	d.Report.Orphans = slices.SortedFunc(maps.Values(d.orphans), func(a, b Orphan) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	d.Report.Unread = unread
	if err := d.Write(d.Report); err != nil {
		return fmt.Errorf("writing the report of what may be left: %w; nothing was let go", err)
	}
	text, err := d.Report.Encode()
	if err != nil {
		return err
	}
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: d.Cluster.Key.Namespace, Name: d.Cluster.Key.Name + ReportSuffix}}
	err = d.Hub.Get(ctx, client.ObjectKeyFromObject(kept), kept)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading the report of what may be left: %w", err)
	}
	metav1.SetMetaDataLabel(&kept.ObjectMeta, v1alpha1.OrphansLabel, d.Cluster.Key.Name)
	kept.Data = map[string]string{"report.yaml": string(text)}
	if err != nil {
		err = d.Hub.Create(ctx, kept)
	} else {
		err = d.Hub.Update(ctx, kept)
	}
	if err != nil {
		return fmt.Errorf("writing the report of what may be left (ConfigMap %s/%s): %w", kept.Namespace, kept.Name, err)
	}
	return d.tell(ctx, ripe)
}

// ReportSuffix is what the name of the ConfigMap with a report ends with, after that of the cluster.
const ReportSuffix = "-orphans"

// tell has an Event say what is let go.
func (d *Detaching) tell(ctx context.Context, ripe []Blocker) error {
	for _, b := range ripe {
		event := &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.Part.GetNamespace(), GenerateName: d.Cluster.Key.Name + "-detached-"},
			InvolvedObject: corev1.ObjectReference{
				APIVersion: b.Part.GetAPIVersion(), Kind: b.Part.GetKind(), Namespace: b.Part.GetNamespace(), Name: b.Part.GetName(), UID: b.Part.GetUID(),
			},
			Type: corev1.EventTypeWarning, Reason: "Detached", Count: 1, FirstTimestamp: metav1.NewTime(d.Now()), LastTimestamp: metav1.NewTime(d.Now()),
			Source:  corev1.EventSource{Component: "umbel"},
			Message: fmt.Sprintf("Let go without its provider's word; ConfigMap %s%s says what may be left of it", d.Cluster.Key.Name, ReportSuffix),
		}
		if err := d.Hub.Create(ctx, event); err != nil {
			return fmt.Errorf("telling of %s: %w", Name(&b.Part), err)
		}
	}
	return nil
}
