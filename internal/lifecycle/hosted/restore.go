package hosted

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/internal/lifecycle/snapshot"
)

// settling is how long the machines of a cluster that was restored have to be its nodes again before one can be called ill, and resting
// the mark of a health check that rests meanwhile.
const (
	settling = 2 * time.Minute
	resting  = "umbel.dev/restore"
)

// fetchTime is how long a target may take to give a snapshot back, or to take it.
const fetchTime = 15 * time.Minute

// request is what a control plane is asked to hold.
type request struct{ backup, snapshot, id string }

// asked returns the request for a snapshot that has not been answered, empty for none.
func asked(object *infra.HostedControlPlane) string {
	if want := object.Annotations[infra.RestoreAnnotation]; want != object.Status.Restored {
		return want
	}
	return ""
}

// parseRequest reads BACKUP/SNAPSHOT@REQUEST.
func parseRequest(text string) (r request, err error) {
	rest, _, named := strings.Cut(text, "@")
	backup, name, cut := strings.Cut(rest, "/")
	if !named || !cut || backup == "" || name == "" {
		return r, &refusal{fmt.Sprintf("annotation %s is %q: it is to be BACKUP/SNAPSHOT@REQUEST", infra.RestoreAnnotation, text)}
	}
	return request{backup, name, text}, nil
}

// copied says whether the control plane of a Cluster is to begin with a snapshot.
func (f family) copied() bool {
	return field[string](f.cluster, "spec", "topology", "controlPlane", "metadata", "annotations", infra.RestoreAnnotation) != ""
}

// restore has the control plane hold what it is asked to, before it is raised. Of one that has served, what fails is said and it goes on
// as it is; one that has not waits, since an empty one is not what was asked for.
func (c *planeController) restore(ctx context.Context, object *infra.HostedControlPlane, f family, h local.Hosted, plane local.Plane) error {
	want := asked(object)
	if want == "" || plane.Restored == want {
		return nil
	}
	err := c.tries.rests(object.UID, want, c.now())
	if err == nil {
		if err = c.bring(ctx, object, f, h, want); busy(err) {
			return err
		}
		c.tries.ended(object.UID, want, err, c.now())
	}
	if err == nil {
		return nil
	}
	said, _ := failure(err)
	said.Message += "; it is tried again after a while, or at once when it is asked for anew"
	c.restored(object, said)
	if !h.Begun {
		return fmt.Errorf("it is to begin with a snapshot: %w", err)
	}
	return nil
}

func (c *planeController) bring(ctx context.Context, object *infra.HostedControlPlane, f family, h local.Hosted, want string) error {
	r, err := parseRequest(want)
	if err != nil {
		return err
	}
	store, _, err := storeOf(ctx, c.frame, c.kept, client.ObjectKey{Namespace: object.Namespace, Name: r.backup})
	if err != nil {
		return err
	}
	dir, done, err := c.kept.Scratch("restore-" + object.Namespace + "-" + h.Name)
	if err != nil {
		return err
	}
	fetching, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	file := filepath.Join(dir, "snapshot.db")
	found, err := store.Fetch(fetching, r.snapshot, file)
	if errors.Is(err, fs.ErrNotExist) {
		err = &refusal{fmt.Sprintf("ClusterBackup %s has no snapshot %s: `umbel cluster backups` lists those that there are", r.backup, r.snapshot)}
	}
	if err == nil {
		err = checkStep(found.Version, h.Version)
	}
	if err == nil && h.Begun {
		err = c.rest(ctx, c.live, client.ObjectKeyFromObject(f.cluster))
	}
	if err == nil {
		err = c.kept.RestorePlane(ctx, h, want, file)
	}
	return errors.Join(err, done())
}

// rest has the health checks of a cluster's machines rest. In what is restored there are no Nodes of machines that are newer: Cluster API
// would replace these at once, though they come back as who they are.
func (c *planeController) rest(ctx context.Context, from client.Reader, cluster client.ObjectKey) error {
	return c.mark(ctx, from, cluster, func(annotations map[string]string) bool {
		if _, paused := annotations[pausedAnnotation]; paused {
			return false
		}
		annotations[pausedAnnotation] = resting
		return true
	})
}

// resume has the health checks go on that rest for a restore, when that has failed or its cluster has had time to settle. Those that
// somebody else has rest do.
func (c *planeController) resume(ctx context.Context, object *infra.HostedControlPlane, f family) error {
	if want := asked(object); want != "" && c.tries.rests(object.UID, want, c.now()) == nil {
		return nil // it is under way
	}
	said := meta.FindStatusCondition(object.Status.Conditions, infra.ConditionRestored)
	if said == nil || said.Status == metav1.ConditionTrue && c.now().Sub(said.LastTransitionTime.Time) < settling {
		return nil
	}
	return c.mark(ctx, c.client, client.ObjectKeyFromObject(f.cluster), func(annotations map[string]string) bool {
		if annotations[pausedAnnotation] != resting {
			return false
		}
		delete(annotations, pausedAnnotation)
		return true
	})
}

// mark changes the annotations of the health checks of a cluster's machines.
func (c *planeController) mark(ctx context.Context, from client.Reader, cluster client.ObjectKey, change func(map[string]string) bool) error {
	all := &unstructured.UnstructuredList{}
	all.SetGroupVersionKind(checkKind)
	if err := from.List(ctx, all, client.InNamespace(cluster.Namespace)); err != nil {
		return fmt.Errorf("listing the health checks of the machines of cluster %s: %w", cluster.Name, err)
	}
	for i := range all.Items {
		before := &all.Items[i]
		after := before.DeepCopy()
		annotations := after.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		if field[string](before, "spec", "clusterName") != cluster.Name || !change(annotations) {
			continue
		}
		after.SetAnnotations(annotations)
		if err := c.client.Patch(ctx, after, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("changing whether MachineHealthCheck %s rests: %w", after.GetName(), err)
		}
	}
	return nil
}

// settle takes out of a control plane that was just restored what is of another time or another cluster, and says that it is restored.
func (c *planeController) settle(ctx context.Context, object *infra.HostedControlPlane, f family, plane local.Plane) error {
	want := asked(object)
	if want == "" || plane.Restored != want {
		return nil
	}
	config, err := plane.Client()
	if err != nil {
		return err
	}
	inside, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	names, err := (&clusterController{frame: c.frame}).machines(ctx, object.Namespace, f.name)
	if err != nil {
		return err
	}
	if !initialized(object) { // a copy: the papers of its origin's agent would have it come in as that
		err = inside.CoreV1().Secrets(v1alpha1.AgentNamespace).Delete(ctx, identity.MemberSecret, metav1.DeleteOptions{})
	}
	if err := errors.Join(client.IgnoreNotFound(err), forgetNodes(ctx, inside, names), renewTokens(ctx, inside)); err != nil {
		return fmt.Errorf("after it was restored: %w", err)
	}
	object.Status.Restored = want
	meta.RemoveStatusCondition(&object.Status.Conditions, infra.ConditionRestored) // the one before was of another time
	r, err := parseRequest(want)
	c.restored(object, serving("it holds what snapshot "+r.snapshot+" of ClusterBackup "+r.backup+" does, and what came after"))
	return err
}

func (c *planeController) restored(object *infra.HostedControlPlane, said metav1.Condition) {
	said.Type, said.ObservedGeneration = infra.ConditionRestored, object.Generation
	meta.SetStatusCondition(&object.Status.Conditions, said)
}

// forgetNodes deletes the Nodes of machines that the cluster does not have, and their pods, which would be waited for: of an agent there is one at
// a time. Those that it has and that the snapshot does not know are registered when their machines are looked at.
func forgetNodes(ctx context.Context, inside kubernetes.Interface, has []string) error {
	nodes, err := inside.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, name := range has {
		known[name] = true
	}
	for _, node := range nodes.Items {
		if known[node.Name] {
			continue
		}
		if err := inside.CoreV1().Nodes().Delete(ctx, node.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(node.UID))}); client.IgnoreNotFound(err) != nil {
			return err
		}
		if err := local.ForgetPods(ctx, inside, node.Name); err != nil {
			return fmt.Errorf("of node %s, which is gone: %w", node.Name, err)
		}
	}
	return nil
}

// renewTokens has the tokens in Secrets issued anew that a control plane with other keys has signed: nobody would believe them.
func renewTokens(ctx context.Context, inside kubernetes.Interface) error {
	secrets, err := inside.CoreV1().Secrets("").List(ctx, metav1.ListOptions{FieldSelector: "type=" + string(corev1.SecretTypeServiceAccountToken)})
	if err != nil {
		return err
	}
	for _, s := range secrets.Items {
		patch := []byte(`{"data":{"token":null,"ca.crt":null}}`)
		if _, err := inside.CoreV1().Secrets(s.Namespace).Patch(ctx, s.Name, types.MergePatchType, patch, metav1.PatchOptions{}); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

// storeOf returns where the snapshots of a ClusterBackup are, and that.
func storeOf(ctx context.Context, f frame, host snapshots, key client.ObjectKey) (snapshot.Store, *infra.ClusterBackup, error) {
	backup := &infra.ClusterBackup{}
	err := f.client.Get(ctx, key, backup)
	if client.IgnoreNotFound(err) != nil {
		return nil, nil, err
	}
	if err != nil {
		return nil, nil, &refusal{fmt.Sprintf("there is no ClusterBackup %s in namespace %s", key.Name, key.Namespace)}
	}
	store, err := openTarget(ctx, f, host, backup)
	return store, backup, err
}

// openTarget opens the target of a ClusterBackup.
func openTarget(ctx context.Context, f frame, host snapshots, backup *infra.ClusterBackup) (snapshot.Store, error) {
	t, from := snapshot.Target{}, backup.Spec.Target
	switch {
	case from.Folder != nil:
		t.Folder = host.BackupFolder(from.Folder.Name)
	case from.S3 != nil:
		t.S3 = &snapshot.S3{Endpoint: from.S3.Endpoint, Bucket: from.S3.Bucket, Prefix: from.S3.Prefix, Region: from.S3.Region}
	case from.OCI != nil:
		t.OCI = &snapshot.OCI{URL: from.OCI.URL}
	}
	if from.SecretName != "" {
		secret := &corev1.Secret{}
		err := f.client.Get(ctx, client.ObjectKey{Namespace: backup.Namespace, Name: from.SecretName}, secret)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading the Secret %s of the target: %w", from.SecretName, err)
		}
		if err != nil {
			return nil, &refusal{fmt.Sprintf("spec.target.secretName: there is no Secret %s in namespace %s", from.SecretName, backup.Namespace)}
		}
		t.Credentials = snapshot.Credentials{Username: string(secret.Data["username"]), Password: string(secret.Data["password"]), CA: secret.Data["ca.crt"]}
	}
	return snapshot.Open(t, backup.Namespace, backup.Spec.ClusterName)
}
