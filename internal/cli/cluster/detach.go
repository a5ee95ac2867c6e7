package cluster

import (
	"context"
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/lifecycle/ending"
)

// patience is how long a part has to have blocked before it is let go.
const patience = 3 * time.Second

// force ends a deletion that cannot end.
func (o *deleteOptions) force(ctx context.Context, hub *client.Hub, cluster *unstructured.Unstructured, made ending.Cluster) error {
	if cluster.GetDeletionTimestamp() == nil {
		return fmt.Errorf("cluster %s is not being deleted: `umbel cluster delete %s -n %s` first, so that what can be ended is", o.name, o.name, o.Namespace)
	}
	parts, err := made.Gather(ctx, hub)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Err, "Cluster %s/%s is forgotten, and these are let go as they are, unless they end by then:\n", o.Namespace, o.name)
	for _, b := range ending.Blockers(parts.All) {
		fmt.Fprintln(o.Err, "  "+b.String())
	}
	if !o.yes {
		if err := confirm(o.Factory, "What is not ended may be paid for until somebody ends it. Go on?", "nothing was let go: --yes answers for you"); err != nil {
			return err
		}
	}
	s, err := weigh(ctx, o.Factory, hub, cluster)
	if err != nil {
		return err
	}
	d := &ending.Detaching{
		Cluster: made, UID: cluster.GetUID(), Hub: hub, Now: o.Now, Patience: patience, Write: o.write,
		Report: ending.Report{Cluster: o.Namespace + "/" + o.name, Begun: metav1.NewTime(o.Now()), Orphans: []ending.Orphan{}, Inside: s.costs()},
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	view := progress.On(o.Streams, o.Now)
	defer view.Close()
	err = view.Run(o.name+": forgotten", func(step *progress.Step) error {
		return until(ctx, func(ctx context.Context) (bool, string, error) {
			left, err := d.Step(ctx)
			said := v1alpha1.Counted(len(left.All), "object") + v1alpha1.Agreeing(len(left.All), " is left", " are left")
			step.Note("%s", said)
			return len(left.All) == 0, said, err
		})
	})
	if err != nil {
		return fmt.Errorf("cluster %s is not forgotten yet: %w", o.name, err)
	}
	if err := forget(ctx, hub, cluster); err != nil {
		return err
	}
	view.Close()
	if len(d.Report.Orphans) == 0 {
		fmt.Fprintf(o.Out, "cluster %s ended, and everything of it by its provider\n", o.name)
		return nil
	}
	fmt.Fprintf(o.Out, "cluster %s is forgotten; what may be left of it is in %s, and in ConfigMap %s/%s%s of the hub\n", o.name, o.report, o.Namespace, o.name, ending.ReportSuffix)
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

// forget takes the member of a Cluster that is gone out of the fleet, if nobody else did.
func forget(ctx context.Context, hub *client.Hub, cluster *unstructured.Unstructured) error {
	member := &v1alpha1.MemberCluster{}
	err := hub.Get(ctx, kube.ObjectKey{Name: cluster.GetName()}, member)
	if err != nil || member.Annotations[v1alpha1.ManagedAnnotation] != cluster.GetNamespace()+"/"+cluster.GetName() {
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
