package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/fleet"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/span"
)

const (
	// fewLines is how many lines of a container are shown unless somebody says otherwise.
	fewLines = 20
	// mostBytes is how much is read of one cluster to be put in order; what is followed has no bound.
	mostBytes = 32 << 20
	// longest is how long a line may be; the rest of a longer one is the next.
	longest = 256 << 10
)

// Options are the arguments of `umbel logs`.
type Options struct {
	*client.Factory
	// Clusters says by their labels which are asked, AllClusters every one.
	Clusters    string
	AllClusters bool
	// Selector are labels of pods, instead of a name.
	Selector string
	// Container names one; Every means all of a pod.
	Container string
	Every     bool
	// Follow goes on, Previous asks for the run before.
	Follow, Previous bool
	// Tail is how many lines of each container, negative for all; Since bounds their age.
	Tail  int64
	Since time.Duration
	// Times shows when each line was written.
	Times bool
	// Timeout is how long a cluster may take to answer.
	Timeout time.Duration
	// Format is how lines are written: as text, or each as JSON.
	Format output.Format

	target   target
	clusters labels.Selector
}

const examples = `  # the last lines of a Deployment's pods, on every production cluster, in the order of their times
  umbel logs deploy/web -n shop --clusters env=prod

  # go on with what comes, a colour for each cluster
  umbel logs deploy/web -n shop --clusters env=prod --follow

  # all that pods with a label wrote in an hour, with times, for a program
  umbel logs -l app=web -n shop --all-clusters --since 1h --tail -1 -o json

  # why it ended: the run before, of one cluster
  umbel logs sts/db -n shop --clusters region=eu --previous`

// NewCmd returns the command `umbel logs`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f, Tail: fewLines, Timeout: 10 * time.Second}
	cmd := &cobra.Command{
		Use:   "logs POD|KIND/NAME",
		Short: "Show what the containers of many clusters write, together",
		Long: "Show what the containers of many clusters write, together: of one pod, or of all pods of a Deployment, StatefulSet, DaemonSet, ReplicaSet,\n" +
			"Job or Service, or with labels.\n\n" +
			"Each cluster is asked through the hub, as you. Lines are in the order of their times, the cluster and the pod before each; with --follow\n" +
			"they come as they are written, of pods that come later too. What could not be read is said by cluster on standard error, and the command\n" +
			"ends with code 1. Nothing is kept anywhere. Events are objects: `umbel get events -n NAMESPACE --clusters LABELS` lists those of many clusters.",
		Example:           examples,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(cmd, args); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.Clusters, "clusters", "", "the clusters that have the `LABELS`, such as env=prod,region!=us")
	flags.BoolVar(&o.AllClusters, "all-clusters", false, "every cluster")
	flags.StringVarP(&o.Selector, "selector", "l", "", "`LABELS` that the pods have, instead of a name")
	flags.StringVarP(&o.Container, "container", "c", "", "`NAME` of a container (default: the pod's main one)")
	flags.BoolVar(&o.Every, "all-containers", false, "all containers of a pod")
	flags.BoolVarP(&o.Follow, "follow", "f", false, "go on with what is written until interrupted, which is no failure (exit code 0)")
	flags.BoolVarP(&o.Previous, "previous", "p", false, "of the run before, of containers that were started again")
	flags.Int64Var(&o.Tail, "tail", o.Tail, "`LINES` of each container, the last ones; -1 for all")
	span.Var(flags, &o.Since, "since", "no lines that are older than a `DURATION`")
	flags.BoolVar(&o.Times, "timestamps", false, "show when each line was written")
	span.Var(flags, &o.Timeout, "timeout", "`DURATION` that a cluster may take to answer")
	output.AddFlag(cmd, &o.Format, output.JSON)
	// They fail for flags that do not exist only.
	_ = cmd.RegisterFlagCompletionFunc("clusters", f.CompleteLabels(kinds.Clusters))
	_ = cmd.RegisterFlagCompletionFunc("selector", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("container", cobra.NoFileCompletions)
	return cmd
}

func (o *Options) complete(cmd *cobra.Command, args []string) (err error) {
	if o.target, err = parse(args, o.Selector); err != nil {
		return err
	}
	if o.clusters, err = labels.Parse(o.Clusters); err != nil {
		return exit.Usagef("the selector %q cannot be read: %w", o.Clusters, err)
	}
	switch {
	case o.AllClusters == (o.Clusters != ""):
		return exit.Usagef("say of which clusters: --clusters LABELS or --all-clusters; of one alone `umbel kubectl CLUSTER -- logs` shows them too")
	case o.Container != "" && o.Every:
		return exit.Usagef("give --container or --all-containers, not both")
	case o.Follow && o.Previous:
		return exit.Usagef("a run that has ended cannot be followed: leave --follow or --previous out")
	case o.Timeout <= 0:
		return exit.Usagef("--timeout has to be more than nothing")
	}
	if o.Since > 0 && !cmd.Flags().Changed("tail") {
		o.Tail = -1 // whoever bounds the time means all of it
	}
	return nil
}

func (o *Options) run(ctx context.Context, hub *client.Hub) error {
	var list v1alpha1.MemberClusterList
	if err := hub.ListClusters(ctx, &list, o.clusters); err != nil {
		return err
	}
	members, err := fleet.Members(ctx, o.Factory, hub, list.Items)
	if err != nil {
		return err
	}
	if len(members) == 0 {
		none, err := hub.NoneMatch(ctx, o.Clusters)
		if err == nil {
			o.Note("%s", none)
		}
		return err
	}
	to := newWriter(o, members)
	if o.Follow {
		return o.follow(ctx, members, to)
	}
	return o.once(ctx, members, to)
}

// answer is what one cluster said.
type answer struct {
	cluster v1alpha1.ClusterName
	lines   []line
	err     error
}

// once reads the end of all logs, and writes it in order.
func (o *Options) once(ctx context.Context, members []fleet.Member, to *writer) error {
	var lines []line
	failed := 0
	for said := range fleet.Ask(ctx, members, o.ask) {
		lines = append(lines, said.lines...)
		if said.err != nil {
			failed++
			o.Note("cluster %q: %s", said.cluster, strings.ReplaceAll(said.err.Error(), "\n", "; "))
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	order(lines)
	for i := range lines {
		if err := to.write(&lines[i]); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %s could not be read whole: this is not all that was written", failed, v1alpha1.Counted(len(members), "cluster"))
	}
	if len(lines) == 0 {
		o.Note("Nothing was written.")
	}
	return nil
}

// ask reads the logs of one cluster.
func (o *Options) ask(ctx context.Context, m fleet.Member) answer {
	said := answer{cluster: m.Cluster, err: m.Gone}
	if m.Gone != nil {
		return said
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	said.lines, said.err = o.read(ctx, m)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		said.err = fmt.Errorf("it did not answer within %s: --timeout gives it longer", o.Timeout)
	}
	return said
}

func (o *Options) read(ctx context.Context, m fleet.Member) (lines []line, err error) {
	api, err := kubernetes.NewForConfig(m.Config)
	if err != nil {
		return nil, err
	}
	in, err := o.target.options(ctx, api, o.Namespace)
	if err != nil {
		return nil, err
	}
	pods, err := o.target.pods(ctx, api, o.Namespace, in)
	if err != nil {
		return nil, err
	}
	room := mostBytes
	var problems []error
	for i := range pods.Items {
		for _, c := range wanted(m.Cluster, &pods.Items[i], o.Container, o.Every) {
			if !writes(&pods.Items[i], c.name) && !o.Previous {
				continue // it has not begun
			}
			err := o.stream(ctx, api, c, o.bounds(), func(l line) error {
				if room -= len(l.text); room < 0 {
					return fmt.Errorf("it has more than %d MiB: bound it with --since or --tail, or follow it", mostBytes>>20)
				}
				lines = append(lines, l)
				return nil
			})
			if err != nil {
				problems = append(problems, fmt.Errorf("%s/%s %s: %w", c.namespace, c.pod, c.name, err))
			}
		}
	}
	return lines, errors.Join(problems...)
}

// bounds is what is asked of a log.
func (o *Options) bounds() corev1.PodLogOptions {
	b := corev1.PodLogOptions{Previous: o.Previous, Timestamps: true}
	if o.Tail >= 0 {
		b.TailLines = &o.Tail
	}
	if o.Since > 0 {
		b.SinceSeconds = new(int64(max(1, o.Since.Round(time.Second)/time.Second)))
	}
	return b
}

// stream reads a log, a line at a time.
func (o *Options) stream(ctx context.Context, api kubernetes.Interface, c *container, bounds corev1.PodLogOptions, each func(line) error) error {
	bounds.Container = c.name
	log, err := api.CoreV1().Pods(c.namespace).GetLogs(c.pod, &bounds).Stream(ctx)
	if err != nil {
		return err
	}
	defer log.Close()
	from := bufio.NewReaderSize(log, longest)
	for {
		text, err := from.ReadSlice('\n')
		if len(text) > 0 {
			if err := each(read(c, strings.TrimRight(string(text), "\r\n"))); err != nil {
				return err
			}
		}
		switch {
		case err == nil, errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
	}
}

// newest returns options of a list that is watched from where another one ended.
func newest(in metav1.ListOptions, version string) metav1.ListOptions {
	in.ResourceVersion = version
	return in
}
