package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
)

const long = `Take the clusters of a Google fleet over into this one, by what it exports of them: GKE on AWS, GKE on Azure, and attached clusters (EKS,
AKS and others). The files are what these print, in YAML or JSON, also several in one, and lists:

  gcloud container aws|azure|attached clusters describe NAME --location LOCATION
  gcloud container aws|azure node-pools describe NAME --cluster CLUSTER --location LOCATION

Each becomes a member that waits for its agent, with labels of where it is (platform, region, project) and a note of which cluster it is. Then
umbel join installs the agent, with the cluster's kubeconfig, and refuses a cluster that is not the one of the note. Nothing is asked of a
cloud, and nothing there is changed. It may be run again at any time: labels are set anew, and others stay.

GKE on AWS and GKE on Azure end on 2027-03-17, and their clusters with them. --rebuild shows the commands that make clusters of the same
shape after a ClusterClass of yours, and what these leave out. Attached clusters stay: they only leave that fleet.`

const examples = `  # what is in there?
  umbel import fleet.yaml --dry-run

  # a member, with a label more; then its agent
  umbel import shop-eu.yaml --label env=prod
  umbel join shop-eu --kubeconfig ~/.kube/config --context shop-eu

  # GKE on AWS: how is a cluster of that shape made by this hub?
  umbel import shop-eu.yaml pools.yaml --rebuild aws`

// options are the arguments of `umbel import`.
type options struct {
	*client.Factory
	files   []string
	labels  map[string]string
	name    string
	rebuild string
	dryRun  bool
}

// NewCmd returns the command `umbel import`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &options{Factory: f}
	cmd := &cobra.Command{
		Use:     "import FILE...",
		Short:   "Take over the clusters of a Google fleet, by what it exports of them",
		Long:    long,
		Example: examples,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exit.Usagef("name the files, or - for what is piped in")
			}
			o.files = args
			clusters, err := o.read()
			if err != nil {
				return err
			}
			if o.rebuild != "" {
				return o.writeCommands(clusters)
			}
			if o.dryRun {
				return o.show(clusters)
			}
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return o.run(ctx, hub, clusters) })
		},
	}
	cmd.Flags().StringToStringVarP(&o.labels, "label", "l", nil, "`KEY=VALUE` for placements to select by, such as env=prod, beside those of where it is")
	cmd.Flags().StringVar(&o.name, "name", "", "`NAME` of the member, where the files have one cluster (default: as it is called there)")
	cmd.Flags().StringVar(&o.rebuild, "rebuild", "", "`CLASS`: show the commands that make clusters of this shape after it, and change nothing")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be imported, and change nothing")
	return cmd
}

// read returns the clusters of all files that go together.
func (o *options) read() ([]foreign, error) {
	var all export
	var problems []error
	for _, file := range o.files {
		content, err := o.content(file)
		if err == nil {
			err = all.read(file, content)
		}
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	clusters, err := all.whole()
	if err != nil {
		return nil, err
	}
	if o.name != "" && len(clusters) != 1 {
		return nil, exit.Usagef("--name %s: the files have %d clusters: give the file of one", o.name, len(clusters))
	}
	for i := range clusters {
		c := &clusters[i]
		if o.name != "" {
			c.name = o.name
		}
		if !v1alpha1.ValidClusterName(v1alpha1.ClusterName(c.name)) {
			problems = append(problems, fmt.Errorf("%s: the name %q is none of a member: lower case letters, digits and '-', at most 63: import it alone, with --name", c.resource, c.name))
		}
	}
	return clusters, errors.Join(problems...)
}

func (o *options) content(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(o.In)
	}
	return os.ReadFile(file)
}

// run makes the members.
func (o *options) run(ctx context.Context, hub *client.Hub, clusters []foreign) error {
	var problems []error
	for _, c := range clusters {
		if why := c.goes(); why != "" {
			o.Note("%s is left out: it %s", c.resource, why)
			continue
		}
		if err := o.put(ctx, hub, c); err != nil {
			problems = append(problems, fmt.Errorf("importing %s: %w", c.resource, err))
		}
	}
	return errors.Join(problems...)
}

// put makes a MemberCluster, or sets what was imported of one.
func (o *options) put(ctx context.Context, hub *client.Hub, c foreign) error {
	member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: c.name}}
	done, err := controllerutil.CreateOrPatch(ctx, hub, member, func() error {
		if was := member.Annotations[v1alpha1.ImportedAnnotation]; was != "" && was != c.resource {
			return fmt.Errorf("the name %q is taken by %s: give another one, with --name", c.name, was)
		}
		if _, _, managed := v1alpha1.SplitManaged(member.Annotations[v1alpha1.ManagedAnnotation]); managed {
			return fmt.Errorf("the name %q is taken by a cluster that this hub makes: give another one, with --name", c.name)
		}
		set(&member.Labels, c.labels())
		set(&member.Labels, o.labels)
		note := map[string]string{v1alpha1.ImportedAnnotation: c.resource}
		if c.issuer != "" {
			note[v1alpha1.IssuerAnnotation] = c.issuer
		}
		set(&member.Annotations, note)
		return nil
	})
	if err != nil {
		return err
	}
	word := map[controllerutil.OperationResult]string{controllerutil.OperationResultCreated: "imported", controllerutil.OperationResultUpdated: "changed", controllerutil.OperationResultNone: "not changed"}[done]
	fmt.Fprintf(o.Out, "membercluster/%s %s: %s in %s, Kubernetes %s\n", c.name, word, c.labels()["platform"], c.region, c.version)
	if member.Status.Identity == nil {
		o.Note("`umbel join %s --kubeconfig FILE` installs its agent", c.name)
	}
	if c.ends() {
		o.Note("%s ends on 2027-03-17: `umbel import FILE... --rebuild CLASS` shows how one of its shape is made", c.name)
	}
	return nil
}

// set sets entries, and keeps others.
func set(of *map[string]string, entries map[string]string) {
	if *of == nil {
		*of = map[string]string{}
	}
	maps.Copy(*of, entries)
}

// show lists what is in the files.
func (o *options) show(clusters []foreign) error {
	table := output.Table{Headers: []string{"NAME", "PLATFORM", "REGION", "VERSION", "NODES", "NOTE"}, Palette: o.Palette(o.Out)}
	var rows [][]output.Cell
	for _, c := range clusters {
		note := c.goes()
		switch {
		case note != "":
			note = "is left out: it " + note
		case c.issuer == "":
			note = "nothing was exported by which it can be told from others"
		case c.ends():
			note = "ends on 2027-03-17"
		}
		rows = append(rows, []output.Cell{
			output.Text(c.name), output.Text(c.labels()["platform"]), output.Text(c.region), output.Text(c.version), output.Text(c.nodes()), output.Text(note),
		})
	}
	return table.Write(o.Out, rows)
}

// nodes says how many nodes the pools have.
func (c foreign) nodes() string {
	if len(c.pools) == 0 {
		return ""
	}
	var low, high int64
	for _, p := range c.pools {
		low, high = low+p.min, high+p.max
	}
	if low == high {
		return fmt.Sprint(high)
	}
	return fmt.Sprintf("%d-%d", low, high)
}

// writeCommands prints how clusters of the same shape are made.
func (o *options) writeCommands(clusters []foreign) error {
	var b strings.Builder
	for _, c := range clusters {
		commands, without := c.rebuild(c.name, o.rebuild)
		fmt.Fprintf(&b, "# %s, Kubernetes %s\n", c.resource, c.version)
		if len(c.pools) == 0 {
			without = append(without, "its nodes: give the files of its pools too")
		}
		for _, w := range slices.Sorted(slices.Values(without)) {
			fmt.Fprintf(&b, "# left out: %s\n", w)
		}
		fmt.Fprintln(&b, strings.Join(commands, "\n"))
	}
	_, err := io.WriteString(o.Out, b.String())
	return err
}
