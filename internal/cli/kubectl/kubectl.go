package kubectl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/route"
	"umbel.dev/umbel/internal/cli/view"
)

const examples = `  # what runs there
  umbel kubectl prod-eu -- get pods -A

  # the canonical story: delete what Umbel manages, and see it come back
  umbel kubectl prod-eu -- delete role pod-reader -n shop
  umbel kubectl prod-eu -- get role pod-reader -n shop`

// Options are the arguments of `umbel kubectl`.
type Options struct {
	*client.Factory
	// Cluster is where kubectl works.
	Cluster v1alpha1.ClusterName
	// Args are what kubectl gets.
	Args []string
}

// NewCmd returns the command `umbel kubectl`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:     "kubectl CLUSTER [--] ARGS...",
		Short:   "Run kubectl on a cluster, through the hub",
		Long:    "Run kubectl on a cluster, through the connection that its agent keeps with the hub. Everything after the name is kubectl's.",
		Example: examples,
		Args: exit.Args(func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || cmd.ArgsLenAtDash() == 0 {
				return errors.New("name the cluster that kubectl is to work on, before --")
			}
			return nil
		}),
		ValidArgsFunction: f.CompleteFirst(kinds.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := kinds.Clusters.NameOf(args[0])
			if err != nil {
				return err
			}
			o.Cluster, o.Args = v1alpha1.ClusterName(name), args[1:]
			if len(o.Args) > 0 && o.Args[0] == "--" {
				o.Args = o.Args[1:]
			}
			return o.run(cmd.Context())
		},
	}
	cmd.Flags().SetInterspersed(false) // flags after the name are kubectl's, with and without --
	return cmd
}

func (o *Options) run(ctx context.Context) error {
	binary, args, err := find(os.Executable, exec.LookPath)
	if err != nil {
		return err
	}
	hub, err := o.Connect()
	if err != nil {
		return err
	}
	door, err := o.reach(ctx, hub)
	if err != nil {
		return hub.Explain(err)
	}
	dir, err := os.MkdirTemp("", "umbel-kubectl-") // for this user alone
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := o.writeKubeconfig(kubeconfig, door); err != nil {
		return err
	}
	return o.exec(ctx, kubeconfig, binary, append(args, o.Args...))
}

// reach returns the door to the cluster, or why it is not reached.
func (o *Options) reach(ctx context.Context, hub *client.Hub) (route.Door, error) {
	var cluster v1alpha1.MemberCluster
	if err := hub.Get(ctx, kube.ObjectKey{Name: string(o.Cluster)}, &cluster); err != nil {
		return route.Door{}, err
	}
	moment := view.Moment{Now: o.Now(), Pulse: hub.Pulse(ctx)}
	if warning := moment.Pulse.Warning(moment.Now); warning != "" {
		o.Note("%s", warning)
	}
	if err := route.Open(moment, &cluster); err != nil {
		return route.Door{}, err
	}
	return route.Find(ctx, hub, hub.Config)
}

func (o *Options) writeKubeconfig(path string, door route.Door) error {
	own, err := o.LoadKubeconfig()
	if err != nil {
		return err
	}
	if err := clientcmd.WriteToFile(*door.Kubeconfig(own, o.Cluster), path); err != nil {
		return fmt.Errorf("writing a kubeconfig for cluster %q: %w", o.Cluster, err)
	}
	return nil
}

// find returns kubectl, and the arguments that come before its own.
func find(executable func() (string, error), lookPath func(string) (string, error)) (string, []string, error) {
	beside := ""
	if self, err := executable(); err == nil {
		beside = filepath.Join(filepath.Dir(self), "umbel-kube")
		if _, err := os.Stat(beside); err == nil {
			return beside, []string{"kubectl"}, nil
		}
	}
	path, err := lookPath("kubectl")
	if err != nil {
		return "", nil, fmt.Errorf("there is no kubectl: neither %s nor kubectl in PATH; `make build` makes the first", cmp.Or(beside, "umbel-kube beside umbel"))
	}
	return path, nil, nil
}

// exec runs kubectl until it ends. An interrupt is kubectl's to answer: umbel waits for it, and cleans up.
func (o *Options) exec(ctx context.Context, kubeconfig, binary string, args []string) error {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), clientcmd.RecommendedConfigPathEnvVar+"="+kubeconfig)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.In, o.Out, o.Err
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	err := cmd.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.Status(code(ended.ProcessState))
	}
	if errors.Is(err, context.Canceled) {
		return nil // it was interrupted, and ended well
	}
	if err != nil {
		return fmt.Errorf("running %s: %w", binary, err)
	}
	return nil
}

// code is the exit code of a process, as a shell gives it.
func code(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
