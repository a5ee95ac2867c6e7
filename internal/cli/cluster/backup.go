package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/lifecycle/snapshot"
)

const backupExamples = `  # keep snapshots of dev in a folder of the hub's machine, one every six hours, the last 28; and take one now
  umbel cluster backup dev --to folder:dev --schedule "0 */6 * * *" --retain 28

  # in a bucket, or a registry; the Secret has username and password
  umbel cluster backup dev --to s3:https://s3.eu-central-1.amazonaws.com/my-bucket/fleet --secret bucket
  umbel cluster backup dev --to oci:https://registry.example.com/backups --secret registry

  # one more now
  umbel cluster backup dev`

// backupOptions are the arguments of `umbel cluster backup`.
type backupOptions struct {
	*client.Factory
	name string
	to   string
	// fields of a ClusterBackup that are given; of one that is there the others stay.
	secret, schedule, drills string
	jitter                   time.Duration
	retain                   int32
	given                    func(flag string) bool
	timeout                  time.Duration
}

func newBackupCmd(f *client.Factory) *cobra.Command {
	o := &backupOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "backup NAME",
		Short: "Take a snapshot of a cluster's etcd now, and say when others are taken",
		Long: "Take a snapshot of what a cluster on the hub's machine holds, and return when it is where snapshots are kept. With --to, that is said\n" +
			"first, in a ClusterBackup of the cluster's name; with --schedule, others follow by themselves.\n\n" +
			"A snapshot has the cluster's Secrets in it, as etcd has them: who can read it can read these. It is not the backup of the hub itself,\n" +
			"which `umbel backup` makes.",
		Example:           backupExamples,
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name, o.given = args[0], cmd.Flags().Changed
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	cmd.Flags().StringVar(&o.to, "to", "", "`TARGET`: folder:NAME, s3:URL/BUCKET[/PREFIX] or oci:URL[/PATH]")
	cmd.Flags().StringVar(&o.secret, "secret", "", "`SECRET` in the namespace, with username, password and ca.crt for the target")
	cmd.Flags().StringVar(&o.schedule, "schedule", "", "`CRON` in UTC by which snapshots are taken, such as \"0 */6 * * *\"")
	cmd.Flags().StringVar(&o.drills, "drill-schedule", "", "`CRON` in UTC by which the newest snapshot is restored beside the cluster, and looked at")
	span.Var(cmd.Flags(), &o.jitter, "jitter", "`DURATION` within which snapshots are taken after the schedule, so that clusters do not begin at once")
	cmd.Flags().Int32Var(&o.retain, "retain", 7, "`NUMBER` of snapshots that are kept")
	o.timeout = 5 * time.Minute
	span.Var(cmd.Flags(), &o.timeout, "timeout", "`DURATION` to wait for the snapshot")
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.FixedCompletions([]string{"folder:", "s3:", "oci:"}, cobra.ShellCompDirectiveNoSpace))
	return cmd
}

// parseTarget reads --to.
func parseTarget(text string) (t infra.BackupTarget, err error) {
	how, where, _ := strings.Cut(text, ":")
	at, problem := url.Parse(where)
	switch {
	case how == "folder" && where != "" && !strings.Contains(where, "/"):
		t.Folder = &infra.FolderTarget{Name: where}
		return t, nil
	case how == "folder":
		return t, fmt.Errorf("--to %s: a folder is named, such as folder:dev: it is below backups/ of the hub's data folder", text)
	case how != "s3" && how != "oci" || problem != nil || at.Host == "" || at.User != nil || at.RawQuery != "":
		return t, errors.New("--to is folder:NAME, s3:URL/BUCKET[/PREFIX] or oci:URL[/PATH], without a password: that is in a Secret (--secret)")
	case how == "oci":
		t.OCI = &infra.OCITarget{URL: strings.TrimRight(where, "/")}
		return t, nil
	}
	bucket, prefix, _ := strings.Cut(strings.Trim(at.Path, "/"), "/")
	if bucket == "" {
		return t, fmt.Errorf("--to %s has no bucket: it is s3:URL/BUCKET[/PREFIX]", text)
	}
	t.S3 = &infra.S3Target{Endpoint: at.Scheme + "://" + at.Host, Bucket: bucket, Prefix: prefix}
	return t, nil
}

// fill writes what was given into a ClusterBackup.
func (o *backupOptions) fill(b *infra.ClusterBackup) error {
	if o.given("to") {
		target, err := parseTarget(o.to)
		if err != nil {
			return exit.Usage(err)
		}
		target.SecretName = b.Spec.Target.SecretName
		b.Spec.Target = target
	}
	for flag, text := range map[string]string{"schedule": o.schedule, "drill-schedule": o.drills} {
		if _, err := snapshot.ParseSchedule(text); err != nil && text != "" {
			return exit.Usagef("--%s %w", flag, err)
		}
	}
	for flag, set := range map[string]func(){
		"secret":         func() { b.Spec.Target.SecretName = o.secret },
		"schedule":       func() { b.Spec.Schedule = o.schedule },
		"drill-schedule": func() { b.Spec.DrillSchedule = o.drills },
		"jitter":         func() { b.Spec.Jitter = &metav1.Duration{Duration: o.jitter} },
		"retain":         func() { b.Spec.Retain = o.retain },
	} {
		if o.given(flag) {
			set()
		}
	}
	return nil
}

func (o *backupOptions) run(ctx context.Context, hub *client.Hub) error {
	cluster, err := find(ctx, hub, kube.ObjectKey{Namespace: o.Namespace, Name: o.name})
	if err != nil {
		return err
	}
	if v1alpha1.Hibernated(cluster.GetAnnotations()) { // one that is paused for another reason serves
		return atWork(cluster)
	}
	b, err := backupOf(ctx, hub, o.Namespace, o.name)
	none := &noBackupError{}
	if errors.As(err, &none) && o.given("to") {
		b, err = &infra.ClusterBackup{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.name}, Spec: infra.ClusterBackupSpec{ClusterName: o.name, Retain: o.retain}}, nil
	}
	if err == nil {
		err = o.fill(b)
	}
	if err != nil {
		return err
	}
	request := o.Now().UTC().Format(time.RFC3339Nano)
	metav1.SetMetaDataAnnotation(&b.ObjectMeta, infra.BackupAnnotation, request)
	if err := saveBackup(ctx, hub, b); err != nil {
		return fmt.Errorf("backing cluster %s up: %w", o.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	b, err = awaitBackup(ctx, o.Factory, hub, b, "snapshot", func(b *infra.ClusterBackup) bool { return answered(b.Status.Requested, request) }, infra.ConditionReady)
	if err != nil {
		return fmt.Errorf("cluster %s: %w; it is tried again by itself, and `umbel cluster backups %s -n %s` shows what there is", o.name, err, o.name, o.Namespace)
	}
	if len(b.Status.Snapshots) > 0 {
		fmt.Fprintf(o.Out, "%s/%s\n", b.Name, b.Status.Snapshots[0].Name)
	}
	return nil
}

// answered says whether what was answered last is a request, or a later one: somebody else may ask meanwhile, and then that alone is answered.
func answered(last, request string) bool {
	then, err := time.Parse(time.RFC3339Nano, last)
	if err != nil { // nothing yet, or what somebody asked for by hand
		return last == request
	}
	asked, err := time.Parse(time.RFC3339Nano, request)
	return err == nil && !then.Before(asked)
}

// noBackupError says that a cluster has no ClusterBackup.
type noBackupError struct{ namespace, cluster string }

func (e *noBackupError) Error() string {
	return fmt.Sprintf("nothing says where snapshots of cluster %q are kept: `umbel cluster backup %s -n %s --to folder:%s` does", e.cluster, e.cluster, e.namespace, e.cluster)
}

// backupOf returns the ClusterBackup of a cluster: the one of its name, or the only one.
func backupOf(ctx context.Context, hub kube.Reader, namespace, cluster string) (*infra.ClusterBackup, error) {
	all, err := backups(ctx, hub, namespace)
	if err != nil {
		return nil, err
	}
	var names []string
	var found *infra.ClusterBackup
	for i, b := range all {
		if b.Spec.ClusterName != cluster {
			continue
		}
		names = append(names, b.Name)
		found = &all[i]
		if b.Name == cluster {
			return found, nil
		}
	}
	switch len(names) {
	case 0:
		return nil, &noBackupError{namespace, cluster}
	case 1:
		return found, nil
	}
	return nil, fmt.Errorf("cluster %q has the ClusterBackups %s, and none of its own name: say which one", cluster, strings.Join(names, ", "))
}

func backups(ctx context.Context, hub kube.Reader, namespace string) ([]infra.ClusterBackup, error) {
	found, err := list(ctx, hub, infra.GroupVersion.WithKind("ClusterBackup"), kube.InNamespace(namespace))
	if err != nil {
		return nil, err
	}
	all := make([]infra.ClusterBackup, len(found))
	for i, o := range found {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// saveBackup creates or updates a ClusterBackup, without its status.
func saveBackup(ctx context.Context, hub kube.Client, b *infra.ClusterBackup) error {
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(b)
	if err != nil {
		return err
	}
	o := &unstructured.Unstructured{Object: raw}
	o.SetGroupVersionKind(infra.GroupVersion.WithKind("ClusterBackup"))
	delete(o.Object, "status")
	if b.ResourceVersion == "" {
		return explain(hub.Create(ctx, o))
	}
	return explain(hub.Update(ctx, o))
}

// awaitBackup returns a ClusterBackup once it is as is says; meanwhile it shows the message of a condition.
func awaitBackup(ctx context.Context, f *client.Factory, hub *client.Hub, b *infra.ClusterBackup, what string, is func(*infra.ClusterBackup) bool, condition string) (*infra.ClusterBackup, error) {
	view := progress.On(f.Streams, f.Now)
	defer view.Close()
	err := view.Run(b.Spec.ClusterName+": "+what, func(step *progress.Step) error {
		return until(ctx, step, func(ctx context.Context) (bool, string, error) {
			now, err := backupNamed(ctx, hub, kube.ObjectKeyFromObject(b))
			if err != nil {
				return false, "", err
			}
			b = now
			said := "it has not begun"
			if c := meta.FindStatusCondition(b.Status.Conditions, condition); c != nil && c.Status != metav1.ConditionTrue {
				said = c.Message
			}
			return is(b), said, nil
		})
	})
	return b, err
}

// backupNamed returns the ClusterBackup of a name.
func backupNamed(ctx context.Context, hub kube.Reader, key kube.ObjectKey) (*infra.ClusterBackup, error) {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(infra.GroupVersion.WithKind("ClusterBackup"))
	if err := hub.Get(ctx, key, o); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("there is no ClusterBackup %q in namespace %s: `umbel cluster backups -n %s` lists those that there are", key.Name, key.Namespace, key.Namespace)
		}
		return nil, explain(err)
	}
	b := &infra.ClusterBackup{}
	return b, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, b)
}

// backupsOptions are the arguments of `umbel cluster backups`.
type backupsOptions struct {
	*client.Factory
	format output.Format
}

func newBackupsCmd(f *client.Factory) *cobra.Command {
	o := &backupsOptions{Factory: f}
	cmd := &cobra.Command{
		Use:               "backups [NAME]",
		Short:             "List the snapshots of a cluster, or of all of a namespace",
		Long:              "List the snapshots of a cluster that there are, or of all clusters of a namespace: also of those that are not there any more.",
		Example:           "  umbel cluster backups dev\n  umbel cluster backups -o wide",
		Args:              exit.Args(atMostOne),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return o.run(ctx, hub, strings.Join(args, "")) })
		},
	}
	f.AddNamespaceFlag(cmd)
	output.AddFlag(cmd, &o.format, output.Wide, output.JSON, output.YAML, output.Name)
	return cmd
}

func (o *backupsOptions) run(ctx context.Context, hub *client.Hub, name string) error {
	all, err := backups(ctx, hub, o.Namespace)
	if err != nil {
		return err
	}
	table := output.Table{Headers: []string{"SNAPSHOT", "CLUSTER", "KUBERNETES", "SIZE", "AGE"}, Palette: o.Palette(o.Out)}
	if o.format == output.Wide {
		table.Headers = append(table.Headers, "SHA-256")
	}
	var rows [][]output.Cell
	listed := []any{}
	for _, b := range all {
		if name != "" && b.Spec.ClusterName != name {
			continue
		}
		if c := meta.FindStatusCondition(b.Status.Conditions, infra.ConditionReady); c != nil && c.Status != metav1.ConditionTrue {
			o.Note("ClusterBackup %s: %s", b.Name, c.Message)
		}
		for _, s := range b.Status.Snapshots {
			id := b.Name + "/" + s.Name
			if o.format == output.Name {
				fmt.Fprintln(o.Out, id)
				continue
			}
			listed = append(listed, map[string]any{"backup": b.Name, "snapshot": s})
			row := output.Cells(id, b.Spec.ClusterName, s.Version, size(s.Size), output.Age(s.Time.Time, o.Now()))
			if o.format == output.Wide {
				row = append(row, output.Text(s.SHA256))
			}
			rows = append(rows, row)
		}
	}
	switch {
	case o.format == output.JSON || o.format == output.YAML:
		return output.Encode(o.Out, o.format, listed)
	case o.format == output.Name:
		return nil
	case len(rows) == 0:
		o.Note("There are no snapshots: `umbel cluster backup NAME --to folder:NAME` takes one")
		return nil
	}
	return table.Write(o.Out, rows)
}

// size is a number of bytes for people.
func size(bytes int64) string {
	const mebi = 1 << 20
	return fmt.Sprintf("%.1f MiB", float64(bytes)/mebi)
}

// drillOptions are the arguments of `umbel cluster drill`.
type drillOptions struct {
	*client.Factory
	timeout time.Duration
}

func newDrillCmd(f *client.Factory) *cobra.Command {
	o := &drillOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "drill NAME",
		Short: "Restore a cluster's newest snapshot beside it, look what is in it, and take it away",
		Long: "Restore the newest snapshot of a cluster into an etcd and an API server of their own, on the hub's machine: fetch it, verify it, start them,\n" +
			"count what they list, and take everything away again. The cluster notices nothing. `umbel cluster backup --drill-schedule` has that done\n" +
			"by itself.",
		Example:           "  umbel cluster drill dev",
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return o.run(ctx, hub, args[0]) })
		},
	}
	f.AddNamespaceFlag(cmd)
	o.timeout = 5 * time.Minute
	span.Var(cmd.Flags(), &o.timeout, "timeout", "`DURATION` to wait for what it finds")
	return cmd
}

func (o *drillOptions) run(ctx context.Context, hub *client.Hub, name string) error {
	b, err := backupOf(ctx, hub, o.Namespace, name)
	if err != nil {
		return err
	}
	if len(b.Status.Snapshots) == 0 {
		return fmt.Errorf("cluster %q has no snapshot yet: `umbel cluster backup %s -n %s` takes one", name, name, o.Namespace)
	}
	request := o.Now().UTC().Format(time.RFC3339Nano)
	metav1.SetMetaDataAnnotation(&b.ObjectMeta, infra.DrillAnnotation, request)
	if err := saveBackup(ctx, hub, b); err != nil {
		return fmt.Errorf("drilling cluster %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	b, err = awaitBackup(ctx, o.Factory, hub, b, "restored beside", func(b *infra.ClusterBackup) bool {
		return b.Status.Drill != nil && answered(b.Status.Drill.Requested, request)
	}, infra.ConditionReady)
	if err != nil {
		return fmt.Errorf("cluster %s: %w", name, err)
	}
	c := meta.FindStatusCondition(b.Status.Conditions, infra.ConditionDrilled)
	if c == nil {
		return errors.New("the drill was held, and the condition Drilled of its ClusterBackup, which says what came of it, is not there")
	}
	if c.Status != metav1.ConditionTrue {
		return fmt.Errorf("the drill failed: %s", c.Message)
	}
	fmt.Fprintf(o.Out, "%s, %s after it was fetched\n", c.Message, b.Status.Drill.Took.Duration)
	return nil
}
