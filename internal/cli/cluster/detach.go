package cluster

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/lifecycle/ending"
)

const (
	// patience is how long a part has to have blocked before it is let go.
	patience = 3 * time.Second
	// rereads is how often a kind is read again that cannot be, when nothing else is left.
	rereads = 30
)

// force ends a deletion that cannot end.
func (o *deleteOptions) force(ctx context.Context, hub *client.Hub, cluster *unstructured.Unstructured) error {
	if cluster.GetDeletionTimestamp() == nil {
		return fmt.Errorf("cluster %s is not being deleted: `umbel cluster delete %s -n %s` first, so that what can be ended is", o.name, o.name, o.Namespace)
	}
	d, err := o.detaching(ctx, hub, ending.Report{
		Cluster: o.Namespace + "/" + o.name, UID: cluster.GetUID(), Begun: metav1.NewTime(o.Now()), Orphans: []ending.Orphan{},
	})
	if err != nil {
		return err
	}
	if err := o.ask(ctx, d); err != nil {
		return err
	}
	s, err := weigh(ctx, o.Factory, hub, cluster)
	if err != nil {
		return err
	}
	parts, err := d.Left(ctx)
	if err != nil {
		return err
	}
	cloud, marked, err := leftInClouds(ctx, hub, o.name, parts.All)
	if err != nil {
		o.Note("%s was not asked what it has of cluster %s: %v", cloud, o.name, err)
	}
	d.Report.Absorb(ending.Report{UID: d.Report.UID, Inside: s.costs(), Marked: marked})
	return o.letGo(ctx, hub, d)
}

// resume goes on with what somebody began to forget, whose Cluster is gone since. It says whether there is such a thing.
func (o *deleteOptions) resume(ctx context.Context, hub *client.Hub) (bool, error) {
	report, found, err := ending.Open(ctx, hub, kube.ObjectKey{Namespace: o.Namespace, Name: o.name})
	if err != nil || !found {
		return found, err
	}
	o.Note("cluster %s is gone; what was begun at %s goes on", o.name, report.Begun.UTC().Format(time.RFC3339))
	d, err := o.detaching(ctx, hub, report)
	if err != nil {
		return true, err
	}
	if err := o.ask(ctx, d); err != nil {
		return true, err
	}
	return true, o.letGo(ctx, hub, d)
}

// detaching begins with a report, and with what the file has of the same cluster.
func (o *deleteOptions) detaching(ctx context.Context, hub *client.Hub, report ending.Report) (*ending.Detaching, error) {
	made, err := ending.Of(ctx, hub, kube.ObjectKey{Namespace: o.Namespace, Name: o.name})
	if err != nil {
		return nil, err
	}
	written, err := os.ReadFile(o.report)
	if err == nil && len(written) > 0 {
		before, err := ending.Decode(written)
		if err != nil || before.UID != report.UID {
			return nil, fmt.Errorf("file %s is there, and is no report on this cluster (uid %s): nothing was let go; name another one with --orphan-report, or move it away", o.report, report.UID)
		}
		report.Absorb(before)
	} // where it cannot be read it cannot be written either, which is said before anything is let go
	return &ending.Detaching{
		Cluster: made, Hub: hub, Report: report, Write: o.write, Now: o.Now, Patience: patience,
		Warn: func(text string) { o.Note("%s", text) },
	}, nil
}

// ask shows what is let go, and asks whether it may.
func (o *deleteOptions) ask(ctx context.Context, d *ending.Detaching) error {
	parts, err := d.Left(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Err, "Cluster %s/%s is forgotten, and these are let go as they are, unless they end by then:\n", o.Namespace, o.name)
	for _, b := range ending.Blockers(parts.All) {
		fmt.Fprintln(o.Err, "  "+b.String())
	}
	if o.yes {
		return nil
	}
	return confirm(o.Factory, "What is not ended may be paid for until somebody ends it. Go on?", "nothing was let go: --yes answers for you")
}

// letGo lets go what blocks until nothing is left, and forgets the cluster.
func (o *deleteOptions) letGo(ctx context.Context, hub *client.Hub, d *ending.Detaching) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	view := progress.On(o.Streams, o.Now)
	defer view.Close()
	d.Warn = view.Say
	var left ending.Parts
	again := rereads
	err := view.Run(o.name+": forgotten", func(step *progress.Step) error {
		return until(ctx, step, func(ctx context.Context) (bool, string, error) {
			var err error
			left, err = d.Step(ctx)
			said := v1alpha1.Counted(len(left.All), "object") + v1alpha1.Agreeing(len(left.All), " is left", " are left")
			for _, unread := range left.Unread {
				said += "; cannot be read: " + unread
			}
			if err != nil || len(left.All) > 0 {
				return false, said, err
			}
			again--
			return len(left.Unread) == 0 || again < 0, said, nil
		})
	})
	if err != nil {
		return fmt.Errorf("cluster %s is not forgotten yet: %w; the same command goes on", o.name, err)
	}
	if err := forget(ctx, hub, d.Report); err != nil {
		return err
	}
	if err := d.End(ctx, left); err != nil {
		return err
	}
	view.Close()
	return o.told(d, left)
}

// told says what came of it.
func (o *deleteOptions) told(d *ending.Detaching, left ending.Parts) error {
	where := fmt.Sprintf("%s, and in ConfigMap %s of the hub", o.report, d.Place)
	if len(left.Unread) > 0 {
		return fmt.Errorf("cluster %s is forgotten, and something of it may be on the hub still, of kinds that cannot be read: %s; what may be left elsewhere is in %s; the same command goes on when they can be",
			o.name, strings.Join(left.Unread, "; "), where)
	}
	if len(d.Report.Orphans) == 0 {
		fmt.Fprintf(o.Out, "cluster %s ended, and everything of it by its provider\n", o.name)
		return nil
	}
	fmt.Fprintf(o.Out, "cluster %s is forgotten; what may be left of it is in %s\n", o.name, where)
	return nil
}

// write keeps a report on this computer.
func (o *deleteOptions) write(report ending.Report) error {
	text, err := report.Encode()
	if err != nil {
		return err
	}
	return os.WriteFile(o.report, text, 0o600)
}

// forget takes the member of a Cluster that is gone out of the fleet, if nobody else did, and no other Cluster has its name by now.
func forget(ctx context.Context, hub *client.Hub, gone ending.Report) error {
	namespace, name, _ := v1alpha1.SplitManaged(gone.Cluster)
	heir := &unstructured.Unstructured{}
	heir.SetGroupVersionKind(kind("Cluster"))
	if err := hub.Get(ctx, kube.ObjectKey{Namespace: namespace, Name: name}, heir); !apierrors.IsNotFound(err) {
		return err
	}
	member := &v1alpha1.MemberCluster{}
	err := hub.Get(ctx, kube.ObjectKey{Name: name}, member)
	if err != nil || member.Annotations[v1alpha1.ManagedAnnotation] != gone.Cluster {
		return kube.IgnoreNotFound(err)
	}
	before := member.DeepCopy()
	metav1.SetMetaDataAnnotation(&member.ObjectMeta, v1alpha1.ForceDetachAnnotation, "true")
	if err := hub.Patch(ctx, member, kube.MergeFrom(before)); kube.IgnoreNotFound(err) != nil {
		return fmt.Errorf("taking cluster %s out of the fleet: %w", member.Name, err)
	}
	if err := hub.Delete(ctx, member); kube.IgnoreNotFound(err) != nil {
		return fmt.Errorf("taking cluster %s out of the fleet: %w", member.Name, err)
	}
	return nil
}
