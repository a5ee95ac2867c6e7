// Package join is `umbel join`: it makes an existing cluster a member of the fleet.
//
// It runs where the person runs it, with two kubeconfigs: the hub's and the cluster's. On the hub it creates the
// MemberCluster and a one-time token, of which the hub keeps the hash; on the cluster it installs the agent (deploy/agent.yaml)
// with that token. The cluster's kubeconfig goes nowhere else: the hub never sees a credential of a member.
package join

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/cli/word"
	"umbel.dev/umbel/internal/lifecycle/enrol"
	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/internal/tunnel"
)

const examples = `  # make a cluster a member, with the labels that placements select by
  umbel join prod-eu --kubeconfig ~/.kube/prod-eu.yaml --label env=prod --label region=eu

  # look at it only: nothing is written there (umbel level changes that)
  umbel join shop-eu --kubeconfig ~/.kube/shop-eu.yaml --level observed

  # a kubeconfig with several contexts
  umbel join dev --kubeconfig ~/.kube/config --context dev --label env=dev

  # the way to the hub leads through a proxy; the URL goes into a Secret of the cluster
  umbel join shop-7 --kubeconfig ~/.kube/shop-7.yaml --proxy http://proxy.example.com:3128

  # a control plane whose API server keeps an audit log: umbel drift names who deletes what the cluster is to hold
  umbel join lab --kubeconfig ~/.kube/lab.yaml --audit-log /var/log/kubernetes/audit/audit.log

  # nodes that cannot pull from the hub: the agent's image from a registry of your own (see umbel hub image)
  umbel join prod-us --kubeconfig ~/.kube/prod-us.yaml --image registry.example.com/umbel/agent:v1`

const long = `Make an existing cluster a member of the fleet: install the agent there and wait until it is connected.

--kubeconfig is the cluster's; it is used here and now, and never sent to the hub. A credential plugin that it names, as those
of GKE, EKS and AKS do, is run here, and may ask you. The hub is the one in the data folder, or --hub-kubeconfig. The agent dials out: nothing on the cluster has to be reachable.

The agent keeps its key in a Secret of the cluster, and what the cluster is to hold on a volume of the cluster's default
StorageClass, or, where there is none, in a folder of its node.

It may be run again at any time:
  the hub does not know NAME          the cluster becomes a member
  NAME waits for its agent            the agent is installed again and has another hour to come
  NAME is this cluster                its agent gets this hub's address and image; nothing restarts when they are the same,
                                      and an image that --image gave stays until another is given
  NAME is another cluster             refused: take another name, or run umbel leave NAME first
  NAME is leaving                     refused until it has left
  this cluster has another NAME       refused until it has left under that one
Labels that are given are set in each of these cases; others stay.`

// AgentMode says how the agent runs.
type AgentMode string

const (
	// Deployment runs the agent as a Deployment in the cluster.
	Deployment AgentMode = "deployment"
	// Process leaves it to the caller to run umbel-agent: for clusters without nodes.
	Process AgentMode = "process"
)

// Options are the arguments of `umbel join`.
type Options struct {
	*client.Factory
	// Name of the member.
	Name v1alpha1.ClusterName
	// Member is the kubeconfig of the cluster, MemberContext one of its contexts; empty means the current one.
	Member        string
	MemberContext string
	// Labels of the MemberCluster.
	Labels map[string]string
	// Annotations of the MemberCluster. Optional.
	Annotations map[string]string
	// Level is how far the hub goes there; nil means as before, else attached.
	Level *v1alpha1.Level
	// Agent says how the agent runs, and AgentDir, for a process, where its files go.
	Agent    AgentMode
	AgentDir string
	// Image is the agent's, for nodes that cannot pull the hub's; nil means what was given before, else the hub's, and
	// empty the hub's.
	Image *string
	// StorageClass of the volume for the agent's state; nil means the cluster's default, empty or "none" a folder of its
	// node.
	StorageClass *string
	// AuditLog names the audit logs of the cluster's API servers, as they are called where the agent runs; nil means what was given
	// before, else those of a local cluster, and empty or enrol.Unread none.
	AuditLog *enrol.AuditLog
	// Proxy is the URL of the HTTP proxy between the agent and the hub; nil means the one that was given before, and empty
	// none but what the agent's environment says.
	Proxy *string
	// Timeout is how long the agent has to connect.
	Timeout time.Duration
	// Progress shows what is being done. Optional: by default lines go to the error stream.
	Progress *progress.View
}

// NewCmd returns the command `umbel join`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	var image, class, proxy, auditLog, level string
	cmd := &cobra.Command{
		Use:               "join NAME --kubeconfig FILE",
		Short:             "Make an existing cluster a member of the fleet",
		Long:              long,
		Example:           examples,
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name = v1alpha1.ClusterName(args[0])
			if cmd.Flags().Changed("image") {
				o.Image = &image
			}
			if cmd.Flags().Changed("storage-class") {
				o.StorageClass = &class
			}
			if cmd.Flags().Changed("audit-log") {
				o.AuditLog = (*enrol.AuditLog)(&auditLog)
			}
			if cmd.Flags().Changed("proxy") {
				o.Proxy = &proxy
			}
			if err := o.SetLevel(level); err != nil {
				return err
			}
			hub, err := f.Connect()
			if err != nil {
				return err
			}
			view := progress.New(f.Err, progress.Liveness(output.Terminal(f.Err)), f.Now)
			defer view.Close()
			o.Progress = view
			return hub.Explain(Run(cmd.Context(), o, hub))
		},
	}
	// On this command --kubeconfig is the cluster's, as people expect; the hub's has a name of its own.
	cmd.Flags().StringVar(&o.Member, "kubeconfig", "", "`FILE` with the kubeconfig of the cluster that joins")
	cmd.Flags().StringVar(&f.Kubeconfig, "hub-kubeconfig", f.Kubeconfig, "`FILE` with the kubeconfig of the hub (default: the hub in the data folder)")
	cmd.Flags().StringVar(&o.MemberContext, "context", "", "`CONTEXT` of the cluster's kubeconfig (default: its current one)")
	cmd.Flags().StringToStringVarP(&o.Labels, "label", "l", nil, "`KEY=VALUE` for placements to select by, such as env=prod")
	cmd.Flags().StringVar(&level, "level", "", "`LEVEL`: observed has nothing written there, attached has Packages delivered (default: as before, else attached)")
	cmd.Flags().StringVar((*string)(&o.Agent), "agent", string(Deployment), "`HOW` the agent runs: deployment, or process (you run umbel-agent)")
	cmd.Flags().StringVar(&o.AgentDir, "agent-dir", "", "with --agent=process: `FOLDER` in which the agent's files are written")
	cmd.Flags().StringVar(&image, "image", "", "`REF` of the agent's image, where nodes can pull it; \"\" is the hub's (default: as before, else the hub's)")
	cmd.Flags().StringVar(&class, "storage-class", "", "`CLASS`: StorageClass of the agent's state; none or \"\" is a folder of its node (default: as before, else the cluster's default class, else none)")
	cmd.Flags().StringVar(&auditLog, "audit-log", "", "`PATH` of the API server's audit log on the control plane's machine, or a pattern for those of several: the agent reads there who changed or deleted what it applies; none or \"\" is none (default: as before, else that of a cluster of umbel local)")
	cmd.Flags().StringVar(&proxy, "proxy", "", "`URL` of the HTTP proxy by which the agent reaches the hub, http://[NAME:PASSWORD@]HOST:PORT; \"\" is none (default: as before, else what HTTPS_PROXY and NO_PROXY say where the agent runs)")
	o.Timeout = 2 * time.Minute
	span.Var(cmd.Flags(), &o.Timeout, "timeout", "`DURATION` that the agent may take to connect")
	_ = cmd.MarkFlagRequired("kubeconfig") // it fails for a flag that does not exist only
	return cmd
}

// SetLevel sets the level as people write it; empty leaves it as it is.
func (o *Options) SetLevel(text string) error {
	if text == "" {
		return nil
	}
	level, err := word.ParseLevel(text)
	if err != nil {
		return exit.Usagef("--level: %w", err)
	}
	o.Level = &level
	return nil
}

func (o *Options) check() error {
	switch {
	case o.Agent != Deployment && o.Agent != Process:
		return exit.Usagef("--agent is deployment or process, not %q", o.Agent)
	case o.Agent == Process && o.AgentDir == "":
		return exit.Usagef("--agent=process needs --agent-dir: where the agent's files are written")
	case o.Agent == Process && (o.Image != nil || o.StorageClass != nil):
		return exit.Usagef("--image and --storage-class are for an agent that runs as a pod, not with --agent=process")
	}
	if o.AuditLog != nil {
		if err := o.AuditLog.Check(); err != nil {
			return exit.Usagef("--audit-log: %w", err)
		}
	}
	if o.Proxy != nil {
		if _, err := tunnel.ProxyOf(*o.Proxy); err != nil {
			return exit.Usagef("--proxy: %w", err)
		}
	}
	if o.Image != nil && *o.Image != "" {
		if _, err := name.ParseReference(*o.Image); err != nil {
			return exit.Usagef("--image: %w", err)
		}
	}
	return nil
}

// Run joins the cluster. It may be called again at any time, whatever became of it before: decide has the cases.
func Run(ctx context.Context, o *Options, hub *client.Hub) error {
	if err := o.check(); err != nil {
		return err
	}
	target, err := openMember(o.Member, o.MemberContext)
	if err != nil {
		return err
	}
	if err := target.signIn(ctx, patienceOf(os.Stdin), o.Err); err != nil {
		return err
	}
	var to installation
	var here found
	err = o.Progress.Run(fmt.Sprintf("%s: hub knows the cluster", o.Name), func(*progress.Step) error {
		if here, err = o.survey(ctx, target); err != nil { // first, so that a cluster that cannot be reached leaves nothing on the hub
			return err
		}
		to, err = o.enter(ctx, hub, here)
		return err
	})
	if err != nil {
		return err
	}
	var replaced int64
	err = o.Progress.Run(fmt.Sprintf("%s: agent installed", o.Name), func(*progress.Step) error {
		if replaced, err = target.install(ctx, to, here); err != nil {
			return err
		}
		if o.Agent == Process {
			return writeProcess(o.AgentDir, o.Member, o.MemberContext, to)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return o.Progress.Run(fmt.Sprintf("%s: agent connected", o.Name), func(step *progress.Step) error {
		return o.await(ctx, hub, target, replaced, step)
	})
}

// survey finds out what the cluster, and for a process the agent's folder, hold already.
func (o *Options) survey(ctx context.Context, target *member) (found, error) {
	here, err := target.survey(ctx)
	if err != nil || o.Agent == Deployment {
		return here, err
	}
	here.fingerprint, err = processFingerprint(o.AgentDir)
	return here, err
}

// enter makes the cluster known to the hub and returns what to install there.
func (o *Options) enter(ctx context.Context, hub kube.Client, here found) (installation, error) {
	boot, image, err := enrol.HubInfo(ctx, hub)
	if err != nil {
		return installation{}, err
	}
	boot.Cluster, boot.Proxy = o.Name, chooseProxy(o.Proxy, here)
	to := installation{image: chooseImage(o.Image, image, here), auditLog: chooseAuditLog(o.AuditLog, local.AuditLogBeside(o.Member), here)}
	if o.Agent == Process {
		to.image = ""
	} else if to.class, err = chooseClass(o.StorageClass, here); err != nil {
		return installation{}, err
	}
	todo, level, err := o.register(ctx, hub, here)
	if err != nil {
		return installation{}, err
	}
	to.level = level
	boot.Token = here.boot.Token // has served: its key is what the agent is known by
	if todo == admit {
		if boot.Token, err = enrol.Token(ctx, hub, o.Name, here.boot.Token, o.Now()); err != nil {
			return installation{}, err
		}
	}
	to.boot = boot
	return to, nil
}

// await waits until the hub says that the agent is connected. When it does not come, the error says what is known.
func (o *Options) await(ctx context.Context, hub *client.Hub, target *member, replaced int64, step *progress.Step) error {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	v := vigil{replaced: replaced, said: "the hub has not heard of the agent"}
	late := func() error {
		return fmt.Errorf("the agent of %s did not connect within %s: %s", o.Name, o.Timeout, o.diagnose(ctx, target, v.said))
	}
	watching, err := hub.Watch(ctx, &v1alpha1.MemberClusterList{}, kube.MatchingFields{"metadata.name": string(o.Name)})
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) { // a hub that is slow for once
		return late()
	}
	if err != nil {
		return err
	}
	defer watching.Stop()
	looking := time.NewTicker(time.Second)
	defer looking.Stop()
	for {
		select {
		case event, open := <-watching.ResultChan():
			if !open && ctx.Err() == nil {
				return errors.New("the hub ended the watch: is it still running? `umbel join` may be run again")
			}
			if mc, ok := event.Object.(*v1alpha1.MemberCluster); ok {
				v.hear(mc)
			}
		case <-looking.C:
			if o.Agent == Process {
				continue
			}
			if seen, err := target.see(ctx); err == nil { // an API server that is slow for once is asked again
				v.look(seen, o.Now())
			}
		case <-ctx.Done():
			return late()
		}
		step.Note("%s", cmp.Or(v.why, v.said))
		connected, hopeless := v.over(o.Now())
		if connected {
			return nil
		}
		if hopeless {
			return fmt.Errorf("the agent of %s does not start: %s; %s", o.Name, v.why, o.imageAdvice())
		}
	}
}

// diagnose says why an agent that did not come did not: what its cluster shows, or else what the hub said.
func (o *Options) diagnose(ctx context.Context, target *member, said string) string {
	if o.Agent == Process {
		return said + "; does umbel-agent run, with the files in " + o.AgentDir + "?"
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	seen, err := target.see(ctx)
	if err != nil {
		return fmt.Sprintf("%s; its pod cannot be read: %v", said, err)
	}
	if seen.unpullable() != "" {
		return seen.unpullable() + "; " + o.imageAdvice()
	}
	return fmt.Sprintf("%s; `kubectl logs -n %s deploy/umbel-agent` on the cluster may say more, and `umbel join` may be run again",
		cmp.Or(seen.stuck(), said), v1alpha1.AgentNamespace)
}

// imageAdvice is the next step where a cluster's nodes cannot pull the agent's image.
func (o *Options) imageAdvice() string {
	return fmt.Sprintf("push the agent's image to a registry that the nodes can pull from (`umbel hub image REF --output agent.tar` writes it) "+
		"and run `umbel join %s` again with --image REF; docs/operate/join-any-cluster.md has the ways", o.Name)
}

// BootstrapFile is where an agent that runs as a process finds its hub, in its folder.
func BootstrapFile(dir string) string { return filepath.Join(dir, "bootstrap.json") }
