package describe

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

const examples = `  # a cluster: is it connected, do its nodes take pods, what does it hold, what was put back
  umbel describe cluster prod-eu

  # a package: its source, and how far each cluster is
  umbel describe package shop

  # a scope: who may do what, and how far each cluster is with it
  umbel describe scope shop

  # the same for a program
  umbel describe package shop -o json`

// Options are the arguments of `umbel describe`.
type Options struct {
	*client.Factory
	// Kind and Name say which object.
	Kind kinds.Kind
	Name string
	// Format is how it is written.
	Format output.Format
}

// dossier is what is known of one object.
type dossier interface {
	write(p *page, moment view.Moment)
}

// hubState is the hub's last sign of life as programs read it.
type hubState struct {
	// Alive says whether the statuses are up to date.
	Alive bool `json:"alive"`
	// LastHeard is how old they are otherwise.
	LastHeard *metav1.Time `json:"lastHeard,omitempty"`
}

func hubStateOf(moment view.Moment) hubState {
	state := hubState{Alive: moment.Pulse.Alive(moment.Now)}
	if heard := moment.Pulse.Heard; !heard.IsZero() {
		state.LastHeard = &metav1.Time{Time: heard.Truncate(time.Second)}
	}
	return state
}

// NewCmd returns the command `umbel describe`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:               "describe KIND NAME",
		Short:             "Tell all about one object of the hub, such as a cluster or a package, and what to do next",
		Long:              "Tell all about one object of the hub. The kinds are " + kinds.List() + ".",
		Example:           examples,
		SuggestFor:        []string{"show"},
		ValidArgsFunction: f.CompleteTarget(client.One, kinds.Words()...),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	output.AddFlag(cmd, &o.Format, output.Wide, output.JSON, output.YAML)
	return cmd
}

func (o *Options) complete(args []string) error {
	kind, names, err := kinds.Target(args)
	if err != nil {
		return err
	}
	if len(names) != 1 {
		return exit.Usagef("name one %s: `umbel describe %s NAME`; `umbel get %s` lists them", kind.Singular, kind.Singular, kind.Plural)
	}
	o.Kind, o.Name = kind, names[0]
	return nil
}

func (o *Options) run(ctx context.Context, hub *client.Hub) error {
	moment := view.Moment{Now: o.Now(), Pulse: hub.Pulse(ctx)}
	about, err := o.read(ctx, hub, moment)
	if err != nil {
		return err
	}
	if warning := moment.Pulse.Warning(moment.Now); warning != "" {
		o.Note("%s", warning)
	}
	if o.Format == output.JSON || o.Format == output.YAML {
		return output.Encode(o.Out, o.Format, about)
	}
	p := &page{palette: o.Palette(o.Out), wide: o.Format == output.Wide, width: output.Width(o.Out)}
	about.write(p, moment)
	return p.flush(o.Out)
}

func (o *Options) read(ctx context.Context, hub *client.Hub, moment view.Moment) (dossier, error) {
	r := reader{Factory: o.Factory, hub: hub, moment: moment}
	namespaced := kube.ObjectKey{Namespace: o.Namespace, Name: o.Name}
	switch o.Kind {
	case kinds.Clusters:
		return r.cluster(ctx, o.Name)
	case kinds.Packages:
		return r.pkg(ctx, namespaced)
	case kinds.Placements:
		return r.placement(ctx, namespaced)
	case kinds.Scopes:
		return r.scope(ctx, o.Name)
	case kinds.Rollouts:
		return r.rollout(ctx, namespaced)
	case kinds.Plans:
		return r.plan(ctx, namespaced)
	}
	return r.release(ctx, namespaced)
}
