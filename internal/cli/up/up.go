// Package up is `umbel up` and `umbel down`: a whole fleet on this computer, and nothing of it.
//
// `umbel up` goes through the same doors as everybody else: it starts `umbel hub`, makes clusters as `umbel local create` does,
// joins them as `umbel join` does, makes a Git repository of the example fleet, and applies the example's Placements and Packages to
// the hub. Each step finds out what is there already, so that running it again heals what is broken and changes nothing else.
package up

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/validation"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/lifecycle/local"
)

const upExamples = `  # a hub, three clusters, an example repository, and a Package for each folder of it
  umbel up

  # one cluster and nothing to deliver
  umbel up --cluster edge,env=dev --example=none`

// Example says what is delivered at the start.
type Example string

const (
	// Fleet is the example repository, governed by Packages.
	Fleet Example = "fleet"
	// None is nothing.
	None Example = "none"
)

// exampleLabel is the label that manifests of the example refer to: a cluster without it could not get them.
const exampleLabel = "region"

// Options are the arguments of `umbel up`.
type Options struct {
	*client.Factory
	// Clusters are NAME,label=value,….
	Clusters []string
	Example  Example
	// Nodes of each cluster, or -1 for what this computer can do.
	Nodes   int
	Timeout time.Duration
	// Authentication is the path of an AuthenticationConfiguration.
	Authentication string

	// authentication is nil when it stays as it was.
	authentication *string
}

// NewCmd returns the command `umbel up`.
func NewCmd(f *client.Factory) *cobra.Command { return newCmd(f, (*Options).run) }

// newCmd returns the command; runF is what it runs.
func newCmd(f *client.Factory, runF func(*Options, context.Context, []cluster) error) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a hub and clusters on this computer, or heal them",
		Long: "Start a hub, make real clusters on this computer, join them, and let an example repository govern them.\n\n" +
			"Run again, it heals what is broken and changes nothing else. Without root the clusters have no nodes.",
		Example:           upExamples,
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			clusters, err := o.complete(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), o.Timeout)
			defer cancel()
			return runF(o, ctx, clusters)
		},
	}
	cmd.Flags().StringArrayVar(&o.Clusters, "cluster",
		[]string{"prod-eu,env=prod,region=eu", "prod-us,env=prod,region=us", "dev,env=dev,region=eu"}, "`NAME,KEY=VALUE,...`: a cluster and its labels; may be given several times")
	cmd.Flags().StringVar((*string)(&o.Example), "example", string(Fleet), "`WHAT` is delivered: fleet or none")
	cmd.Flags().IntVar(&o.Nodes, "nodes", -1, "`NUMBER` of nodes of each cluster, or -1 for 1 where this computer can (root, containerd), else 0")
	// It fails for a flag that does not exist only.
	_ = cmd.RegisterFlagCompletionFunc("example", cobra.FixedCompletions([]string{string(Fleet), string(None)}, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().StringVar(&o.Authentication, "authentication-config", "",
		"`FILE` with an AuthenticationConfiguration of Kubernetes: whose people may sign in (default: as before, else nobody's)")
	o.Timeout = 10 * time.Minute
	span.Var(cmd.Flags(), &o.Timeout, "timeout", "`DURATION` that the whole may take")
	return cmd
}

// cluster is one to be made and joined.
type cluster struct {
	name   v1alpha1.ClusterName
	labels map[string]string
}

// complete reads the arguments, before anything is made, and returns the clusters that are asked for.
func (o *Options) complete(cmd *cobra.Command) ([]cluster, error) {
	if err := o.Here(cmd); err != nil {
		return nil, err
	}
	if o.Example != Fleet && o.Example != None {
		return nil, exit.Usagef("--example is fleet or none, not %q", o.Example)
	}
	if o.Nodes < -1 || o.Nodes > local.MaxNodes {
		return nil, exit.Usagef("--nodes is within 0..%d, or -1 for what this computer can do, not %d", local.MaxNodes, o.Nodes)
	}
	if cmd.Flags().Changed("authentication-config") {
		var err error
		if o.authentication, err = hub.Authentication(o.Authentication); err != nil {
			return nil, exit.Usagef("--authentication-config: %w", err)
		}
	}
	var all []cluster
	seen := map[v1alpha1.ClusterName]bool{}
	for _, text := range o.Clusters {
		c, err := parseCluster(text)
		if err != nil {
			return nil, exit.Usagef("--cluster %q: %w", text, err)
		}
		if seen[c.name] {
			return nil, exit.Usagef("--cluster %q: the name %q is given twice", text, c.name)
		}
		if _, has := c.labels[exampleLabel]; o.Example == Fleet && !has {
			return nil, exit.Usagef("--cluster %q: the example refers to the label %s of each cluster: add %s=eu, or use --example=none", text, exampleLabel, exampleLabel)
		}
		seen[c.name] = true
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, exit.Usagef("a fleet has at least one cluster: --cluster NAME,KEY=VALUE,...")
	}
	return all, nil
}

// parseCluster reads NAME,KEY=VALUE,….
func parseCluster(text string) (cluster, error) {
	name, labels, _ := strings.Cut(text, ",")
	c := cluster{name: v1alpha1.ClusterName(name), labels: map[string]string{}}
	if err := (local.Spec{Name: name}).Validate(); err != nil {
		return c, err
	}
	for pair := range strings.SplitSeq(labels, ",") {
		key, value, ok := strings.Cut(pair, "=")
		switch {
		case pair == "":
			continue
		case !ok:
			return c, fmt.Errorf("%q is not KEY=VALUE", pair)
		}
		if wrong := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(wrong) > 0 {
			return c, fmt.Errorf("label %q: %s", pair, wrong[0])
		}
		c.labels[key] = value
	}
	return c, nil
}

// fleet is one run of `umbel up`.
type fleet struct {
	*Options
	view     *progress.View
	programs string
	local    *local.Local
	hub      *client.Hub
}

func (o *Options) run(ctx context.Context, clusters []cluster) error {
	run := &fleet{Options: o}
	if err := run.prepare(); err != nil {
		return err
	}
	run.view = progress.On(o.Streams, o.Now)
	defer run.view.Close()
	if err := run.startHub(ctx); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, c := range clusters {
		group.Go(func() error { return run.member(groupCtx, c) })
	}
	if err := group.Wait(); err != nil {
		return run.hub.Explain(err)
	}
	if o.Example == Fleet {
		if err := run.deliver(ctx); err != nil {
			return run.hub.Explain(err)
		}
	}
	run.view.Close()
	fmt.Fprint(o.Out, run.next(clusters))
	return nil
}

// prepare finds the programs and what this computer can do.
func (r *fleet) prepare() (err error) {
	if r.Home, err = filepath.Abs(r.Home); err != nil {
		return err
	}
	if r.programs, err = client.Programs(); err != nil {
		return err
	}
	if r.local, err = local.New(local.Needs{Home: r.Home, Binaries: local.BinariesIn(r.programs)}); err != nil {
		return err
	}
	if r.Nodes < 0 {
		r.Nodes = 1
		if err := local.CheckNodes(); err != nil {
			r.Nodes = 0
			r.Note("clusters have a control plane and no nodes, and agents run as processes: %s", err)
		}
	}
	return nil
}

// startHub starts the hub unless it runs, and waits until it is at work.
func (r *fleet) startHub(ctx context.Context) error {
	return r.view.Run("hub", func(step *progress.Step) error {
		args := []string{"--listen", "127.0.0.1", "--allow-local-sources", r.repositoryDir()}
		address := netip.MustParseAddr("127.0.0.1")
		if r.Nodes > 0 {
			var err error
			if address, err = r.local.HubAddress(); err != nil {
				return err
			}
			args = append(args, "--listen", address.String(), "--advertise", address.String())
		}
		state, err := hub.LoadState(r.Home, hub.Changes{})
		if err != nil {
			return err
		}
		reach, err := netip.ParseAddrPort(state.Address)
		if err != nil {
			return fmt.Errorf("reading the hub's address: %w", err)
		}
		pid, err := hub.Running(r.Home)
		if err != nil {
			return err
		}
		if people := r.authentication; people != nil {
			args = append(args, "--authentication-config", *people)
		}
		if pid != 0 && (reach.Addr() != address || r.authentication != nil && *r.authentication != state.Authentication) {
			step.Note("starting anew, at %s", address)
			if err := hub.Stop(ctx, r.Home); err != nil {
				return err
			}
			pid = 0
		}
		if err := r.wake(ctx, step, pid, args); err != nil {
			return err
		}
		// Members pull the agent from the hub: those that are there, and those that will be made.
		registry := local.Registry{Host: netip.AddrPortFrom(address, uint16(state.GatewayPort)).String(), CAFile: state.CAFile}
		r.local, err = local.New(local.Needs{Home: r.Home, Binaries: local.BinariesIn(r.programs), Registries: []local.Registry{registry}})
		if err != nil {
			return err
		}
		return r.local.TrustRegistry(registry)
	})
}

// wake starts the hub, unless it runs as the process pid, and waits until it is at work. One that was ending when it was looked
// at, since somebody had just killed it, is started anew.
func (r *fleet) wake(ctx context.Context, step *progress.Step, pid int, args []string) error {
	if pid != 0 {
		if err := r.awaitHub(ctx, step, time.Time{}); !errors.Is(err, errHubEnded) {
			return err
		}
	}
	step.Note("starting")
	started := r.Now()
	if err := hub.Launch(r.Home, filepath.Join(r.programs, "umbel"), args...); err != nil {
		return err
	}
	return r.awaitHub(ctx, step, started)
}

// errHubEnded: no hub runs any more.
var errHubEnded = errors.New("the hub has ended")

// awaitHub waits until the hub has shown a sign of life after the given time.
func (r *fleet) awaitHub(ctx context.Context, step *progress.Step, after time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute) // of seconds, where the machine has nothing else to do
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	r.Kubeconfig = hub.AdminKubeconfig(r.Home)
	for {
		pulse, err := r.pulse(ctx)
		if err != nil {
			step.Note("%s", err)
		}
		// What is read of a hub that was killed is a sign of life for a while: it counts while there is a process.
		pid, unknown := hub.Running(r.Home)
		if err == nil && pulse.After(after) && (pid != 0 || unknown != nil) {
			return nil
		}
		// One that was started shows itself after a moment, or some on a busy machine; one that cannot start says why.
		if waited := r.Now().Sub(after); unknown == nil && pid == 0 && waited > 5*time.Second {
			if why := hub.LastWords(r.Home); why != "" {
				return fmt.Errorf("%w: %s; its log is %s", errHubEnded, why, hub.LogFile(r.Home))
			}
			if waited > 30*time.Second {
				return fmt.Errorf("%w; its log is %s", errHubEnded, hub.LogFile(r.Home))
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the hub does not answer; its log is %s", hub.LogFile(r.Home))
		}
	}
}

func (r *fleet) pulse(ctx context.Context) (time.Time, error) {
	if r.hub == nil {
		if _, err := os.Stat(r.Kubeconfig); err != nil {
			return time.Time{}, errors.New("waiting for its API")
		}
		h, err := r.Connect()
		if err != nil {
			return time.Time{}, err
		}
		r.hub = h
	}
	pulse := r.hub.Pulse(ctx)
	if !pulse.Alive(r.Now()) {
		return time.Time{}, errors.New("waiting for its controllers")
	}
	return pulse.Heard, nil
}
