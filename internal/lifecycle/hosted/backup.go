package hosted

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/internal/lifecycle/snapshot"
)

// snapshots are what control planes hold, at one moment.
type snapshots interface {
	// SnapshotPlane writes what a control plane that serves holds.
	SnapshotPlane(ctx context.Context, h local.Hosted, out io.Writer) error
	// RestorePlane has it begin with what a file holds; it does not start it. One request is answered once.
	RestorePlane(ctx context.Context, h local.Hosted, request, file string) error
	// Rehearse restores a file beside everything else, looks what is in it, and takes it away again.
	Rehearse(ctx context.Context, r local.Rehearsal) (local.Found, error)
	// Scratch returns an empty folder for a purpose, and what removes it.
	Scratch(purpose string) (dir string, done func() error, err error)
	// BackupFolder is where the backups of that name are kept on this computer.
	BackupFolder(name string) string
}

const (
	// retry is when a snapshot that failed is tried again, and relist when a target is looked at that nothing was put in.
	retry, relist = 30 * time.Second, 10 * time.Minute
	// drillTime is how long the API of a drill may take to serve.
	drillTime = 5 * time.Minute
)

// backupController takes the snapshots of ClusterBackups, and holds their drills.
type backupController struct {
	frame
	host snapshots
}

func (c *backupController) setup(m ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(m).Named("clusterbackup").For(&infra.ClusterBackup{}).Complete(c)
}

// Reconcile does what is due of a ClusterBackup: a snapshot, then a drill. What of it has begun when the process ends begins anew.
func (c *backupController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	object := &infra.ClusterBackup{}
	if err := c.client.Get(ctx, req.NamespacedName, object); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !object.DeletionTimestamp.IsZero() { // what it has taken stays
		return ctrl.Result{}, nil
	}
	before := object.DeepCopy()
	after, err := c.keep(ctx, object)
	ready := serving(fmt.Sprintf("the target has %d snapshots", len(object.Status.Snapshots)))
	if err != nil {
		ready, _ = failure(err)
		after = retry
	}
	sayOf(object, infra.ConditionReady, ready)
	return ctrl.Result{RequeueAfter: after}, c.say(ctx, before, object)
}

// keep brings the target to what is asked for, and says when to look again.
func (c *backupController) keep(ctx context.Context, object *infra.ClusterBackup) (time.Duration, error) {
	if _, err := planBackup(object, c.now()); err != nil { // before the target is asked for anything
		return 0, err
	}
	store, err := openTarget(ctx, c.frame, c.host, object)
	if err != nil {
		return 0, err
	}
	working, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	all, err := store.List(working)
	if err != nil {
		return 0, fmt.Errorf("listing what the target has: %w", err)
	}
	object.Status.Snapshots = listed(all)
	plan, err := planBackup(object, c.now()) // by what there is, which may be more than was known
	if err != nil {
		return 0, err
	}
	if plan.snapshot {
		all, err = c.take(working, object, store)
		if err != nil {
			return 0, err
		}
		object.Status.Requested = object.Annotations[infra.BackupAnnotation]
		object.Status.Snapshots = listed(all)
	}
	if err := c.drop(working, object, store, all); err != nil {
		return 0, err
	}
	if plan.drill && len(all) > 0 {
		c.drill(working, object, store, all)
	}
	next, err := planBackup(object, c.now())
	if !next.at.IsZero() {
		object.Status.Next = &metav1.Time{Time: next.at}
	}
	return next.wait(c.now()), err
}

// take brings a snapshot to the target, and returns what that has.
func (c *backupController) take(ctx context.Context, object *infra.ClusterBackup, store snapshot.Store) (all []snapshot.Snapshot, err error) {
	f := family{name: object.Spec.ClusterName}
	planes := &infra.HostedControlPlaneList{}
	// What a snapshot says of its version is for good: it is that of now.
	if err := c.live.List(ctx, planes, client.InNamespace(object.Namespace), client.MatchingLabels{clusterLabel: f.name}); err != nil {
		return nil, err
	}
	if len(planes.Items) == 0 {
		return nil, &refusal{fmt.Sprintf("spec.clusterName: Cluster %s has no HostedControlPlane in namespace %s: snapshots are taken of clusters on the hub's machine", f.name, object.Namespace)}
	}
	services, err := servicesOf(ctx, c.client, object.Namespace, f.name)
	if err != nil {
		return nil, err
	}
	dir, done, err := c.host.Scratch("backup-" + object.Namespace + "-" + object.Name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	at := c.now()
	s := snapshot.Snapshot{
		Name: snapshot.NameOf(at), Time: at, Cluster: object.Namespace + "/" + f.name, Version: planes.Items[0].Status.Version, Services: services,
	}
	file := filepath.Join(dir, "snapshot.db")
	if err := c.write(ctx, f.hosted(object.Namespace), file); err != nil {
		return nil, fmt.Errorf("taking a snapshot of cluster %s: %w", f.name, err)
	}
	if s, err = snapshot.Describe(s, file); err != nil {
		return nil, err
	}
	if err := store.Put(ctx, s, file); err != nil {
		return nil, fmt.Errorf("bringing snapshot %s to the target: %w", s.Name, err)
	}
	return store.List(ctx)
}

func (c *backupController) write(ctx context.Context, h local.Hosted, path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = c.host.SnapshotPlane(ctx, h, file)
	return errors.Join(err, file.Close())
}

// servicesOf returns the range of a cluster's Services.
func servicesOf(ctx context.Context, hub client.Client, namespace, cluster string) (string, error) {
	var places infra.HostedClusterList
	if err := hub.List(ctx, &places, client.InNamespace(namespace), client.MatchingLabels{clusterLabel: cluster}); err != nil {
		return "", err
	}
	for _, p := range places.Items {
		if p.Status.Services != "" {
			return p.Status.Services, nil
		}
	}
	return "", fmt.Errorf("cluster %s has no place yet", cluster)
}

// drop deletes the snapshots that are too many.
func (c *backupController) drop(ctx context.Context, object *infra.ClusterBackup, store snapshot.Store, all []snapshot.Snapshot) error {
	surplus := snapshot.Surplus(all, int(object.Spec.Retain))
	for _, s := range surplus {
		if err := store.Delete(ctx, s.Name); err != nil {
			return err
		}
	}
	object.Status.Snapshots = listed(all[:len(all)-len(surplus)])
	return nil
}

// drill restores the newest snapshot beside the cluster, and says what came of it.
func (c *backupController) drill(ctx context.Context, object *infra.ClusterBackup, store snapshot.Store, all []snapshot.Snapshot) {
	s := all[0]
	drill := &infra.BackupDrill{Snapshot: s.Name, Requested: object.Annotations[infra.DrillAnnotation], Time: metav1.Time{Time: c.now()}}
	found, err := c.rehearse(ctx, object, store, s)
	object.Status.Drill = drill
	if err != nil {
		said, _ := failure(fmt.Errorf("snapshot %s cannot be restored: %w", s.Name, err))
		sayOf(object, infra.ConditionDrilled, said)
		return
	}
	drill.Took, drill.Objects, drill.Namespaces = &metav1.Duration{Duration: found.Took.Round(time.Millisecond)}, found.Objects, found.Namespaces
	sayOf(object, infra.ConditionDrilled, serving(fmt.Sprintf("snapshot %s was restored beside the cluster: its API served, with %d objects in %d namespaces", s.Name, found.Objects, found.Namespaces)))
}

func (c *backupController) rehearse(ctx context.Context, object *infra.ClusterBackup, store snapshot.Store, s snapshot.Snapshot) (found local.Found, err error) {
	id := object.Namespace + "-" + object.Name
	dir, done, err := c.host.Scratch("drill-" + id)
	if err != nil {
		return local.Found{}, err
	}
	defer func() { err = errors.Join(err, done()) }()
	file := filepath.Join(dir, "snapshot.db")
	if _, err := store.Fetch(ctx, s.Name, file); err != nil {
		return local.Found{}, err
	}
	waiting, cancel := context.WithTimeout(ctx, drillTime)
	defer cancel()
	return c.host.Rehearse(waiting, local.Rehearsal{Name: id, File: file, Version: s.Version, Services: s.Services})
}

func sayOf(object *infra.ClusterBackup, kind string, said metav1.Condition) {
	said.Type, said.ObservedGeneration = kind, object.Generation
	meta.SetStatusCondition(&object.Status.Conditions, said)
}

func listed(all []snapshot.Snapshot) []infra.ClusterSnapshot {
	var some []infra.ClusterSnapshot
	for _, s := range all[:min(len(all), maxListed)] {
		some = append(some, infra.ClusterSnapshot{
			Name: s.Name, Cluster: s.Cluster, Time: metav1.Time{Time: s.Time}, Size: s.Size, SHA256: s.SHA256, Version: s.Version, Services: s.Services,
		})
	}
	return some
}

// maxListed is how many snapshots a status lists.
const maxListed = 200
