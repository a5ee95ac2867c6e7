package hub

import (
	"fmt"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/content"
)

const imageExamples = `  # the hub itself, for its Helm chart
  umbel hub image registry.example.com/umbel/hub:v1 --of hub --output hub.tar

  # push the agent's image to a registry that your nodes can pull from, and join a cluster with it
  umbel hub image registry.example.com/umbel/agent:v1 --output agent.tar
  docker load -i agent.tar
  docker push registry.example.com/umbel/agent:v1
  umbel join prod-eu --kubeconfig ~/.kube/prod-eu.yaml --image registry.example.com/umbel/agent:v1`

// What an image is of.
const agentImage, hubImage = "agent", "hub"

// programsOf are the programs in each image. The first one runs. A hub brings its agents' image, so it has that program too.
var programsOf = map[string][]string{agentImage: {"umbel-agent"}, hubImage: {"umbel", "umbel-agent"}}

// newImageCmd returns the command `umbel hub image`.
func newImageCmd(f *client.Factory) *cobra.Command {
	var output string
	of := agentImage
	cmd := &cobra.Command{
		Use:   "image REF --output FILE",
		Short: "Write the image of the agent or of the hub to a file, for a registry",
		Long: "Write the image of the agent or of the hub that belong to this umbel to a file that docker load, ctr images import,\n" +
			"crane push and skopeo take. REF is the image's name there. It is for the processor that this umbel was built for.",
		Example:           imageExamples,
		Args:              exit.Takes("REF"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := name.NewTag(args[0], name.StrictValidation); err != nil {
				return exit.Usagef("%q is not an image with its registry and tag, such as registry.example.com/umbel/agent:v1: %w", args[0], err)
			}
			names, known := programsOf[of]
			if !known {
				return exit.Usagef("--of %q is neither %s nor %s", of, agentImage, hubImage)
			}
			programs, err := client.Programs()
			if err != nil {
				return err
			}
			var paths []string
			for _, program := range names {
				paths = append(paths, filepath.Join(programs, program))
			}
			if err := content.ImageTarball(output, args[0], paths...); err != nil {
				return err
			}
			fmt.Fprintf(f.Out, "%s holds %s\n", output, args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&of, "of", of, "`WHAT` the image is of: agent or hub")
	_ = cmd.RegisterFlagCompletionFunc("of", cobra.FixedCompletions([]string{agentImage, hubImage}, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().StringVarP(&output, "output", "o", "", "`FILE` to write")
	_ = cmd.MarkFlagRequired("output") // it fails for a flag that does not exist only
	return cmd
}
