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
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
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
		Args: exit.Args(func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("name the cluster that kubectl is to work on")
			}
			return nil
		}),
		ValidArgsFunction: f.CompleteFirst(kinds.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Cluster, o.Args = v1alpha1.ClusterName(args[0]), args[1:]
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
	reached, err := o.reach(ctx, hub)
	if err != nil {
		return hub.Explain(err)
	}
	dir, err := os.MkdirTemp("", "umbel-kubectl-") // for this user alone
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := o.writeKubeconfig(kubeconfig, reached); err != nil {
		return err
	}
	return o.exec(ctx, kubeconfig, binary, append(args, o.Args...))
}

// reach returns where the cluster is reached, or why it is not.
func (o *Options) reach(ctx context.Context, hub *client.Hub) (route, error) {
	var cluster v1alpha1.MemberCluster
	if err := hub.Get(ctx, kube.ObjectKey{Name: string(o.Cluster)}, &cluster); err != nil {
		return route{}, err
	}
	moment := view.Moment{Now: o.Now(), Pulse: hub.Pulse(ctx)}
	if warning := moment.Pulse.Warning(moment.Now); warning != "" {
		o.Note("%s", warning)
	}
	if err := connected(moment, &cluster); err != nil {
		return route{}, err
	}
	var info corev1.ConfigMap
	if err := hub.Get(ctx, kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, &info); err != nil {
		if apierrors.IsNotFound(err) {
			return route{}, fmt.Errorf("the hub has not said yet where it is reached (ConfigMap %s/%s): it has not finished starting", v1alpha1.SystemNamespace, v1alpha1.HubInfoConfigMap)
		}
		return route{}, fmt.Errorf("asking where the hub is reached: %w", err)
	}
	return routeTo(o.Cluster, &info)
}

// connected returns an error with the age of the last sign of life when kubectl would talk to nobody. When it is the
// hub that is not heard of, kubectl finds out.
func connected(moment view.Moment, cluster *v1alpha1.MemberCluster) error {
	c := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionConnected)
	if c != nil && c.Status == metav1.ConditionTrue {
		return nil
	}
	why := "nobody has heard of its agent yet"
	if c != nil {
		why = fmt.Sprintf("%s (%s)", cmp.Or(c.Message, "no more is known"), c.Reason)
	}
	if ago := moment.LastSeen(cluster).Text; ago != "" {
		why += "; it was last seen " + ago
	}
	return fmt.Errorf("cluster %q is not connected: %s; `umbel describe cluster %s` says what to do", cluster.Name, why, cluster.Name)
}

func (o *Options) writeKubeconfig(path string, to route) error {
	own, err := o.LoadKubeconfig()
	if err != nil {
		return err
	}
	if err := clientcmd.WriteToFile(*kubeconfigFor(own, to), path); err != nil {
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
