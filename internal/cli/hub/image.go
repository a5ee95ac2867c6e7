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

const imageExamples = `  # push the agent's image to a registry that your nodes can pull from, and join a cluster with it
  umbel hub image registry.example.com/umbel/agent:v1 --output agent.tar
  docker load -i agent.tar
  docker push registry.example.com/umbel/agent:v1
  umbel join prod-eu --kubeconfig ~/.kube/prod-eu.yaml --image registry.example.com/umbel/agent:v1`

// newImageCmd returns the command `umbel hub image`.
func newImageCmd(f *client.Factory) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "image REF --output FILE",
		Short: "Write the agent's image to a file, for another registry",
		Long: "Write the image of the agent that belongs to this umbel to a file that docker load, ctr images import, crane push\n" +
			"and skopeo take. REF is the image's name there. It is for the processor that this umbel was built for.",
		Example:           imageExamples,
		Args:              exit.Takes("REF"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := name.NewTag(args[0], name.StrictValidation); err != nil {
				return exit.Usagef("%q is not an image with its registry and tag, such as registry.example.com/umbel/agent:v1: %w", args[0], err)
			}
			programs, err := client.Programs()
			if err != nil {
				return err
			}
			if err := content.ImageTarball(output, args[0], filepath.Join(programs, "umbel-agent")); err != nil {
				return err
			}
			fmt.Fprintf(f.Out, "%s holds %s\n", output, args[0])
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "`FILE` to write")
	_ = cmd.MarkFlagRequired("output") // it fails for a flag that does not exist only
	return cmd
}
