package up

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/join"
	"umbel.dev/umbel/internal/cli/leave"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/lifecycle/local"
)

// joinTimeout is how long an agent may take to connect: its pod has to be scheduled, pulled and started.
const joinTimeout = 3 * time.Minute

// member makes or heals a cluster, and joins it unless it has joined.
func (r *fleet) member(ctx context.Context, c cluster) error {
	made, err := r.local.Create(ctx, local.Spec{Name: string(c.name), Nodes: r.Nodes}, func(step string) func(error) {
		shown := r.view.Start(fmt.Sprintf("%s: %s", c.name, step))
		return func(err error) { _ = shown.End(err) } // returned by what failed, too
	})
	if err != nil {
		return fmt.Errorf("making cluster %s: %w", c.name, err)
	}
	joined, err := r.joined(ctx, c.name, made.Kubeconfig)
	if err != nil {
		return err
	}
	if joined {
		return r.view.Run(fmt.Sprintf("%s: agent connected", c.name), func(*progress.Step) error {
			ctx, cancel := context.WithTimeout(ctx, joinTimeout)
			defer cancel()
			return r.connected(ctx, c.name)
		})
	}
	o := &join.Options{
		Factory: r.Factory, Name: c.name, Member: made.Kubeconfig, Labels: c.labels, Timeout: joinTimeout,
		Agent: join.Deployment, Progress: r.view,
	}
	if r.Nodes == 0 {
		o.Agent, o.AgentDir = join.Process, filepath.Join(r.Home, "local", string(c.name), "agent")
	}
	return join.Run(ctx, o, r.hub)
}

// joined says whether the cluster is a member and has its agent. A member of the same name whose cluster is another
// one by now, made anew without the agent, is forgotten first.
func (r *fleet) joined(ctx context.Context, name v1alpha1.ClusterName, kubeconfig string) (bool, error) {
	var member v1alpha1.MemberCluster
	err := r.hub.Get(ctx, kube.ObjectKey{Name: string(name)}, &member)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if member.Status.Identity == nil {
		return false, nil
	}
	installed, err := installed(ctx, kubeconfig)
	if err != nil || installed {
		return installed, err
	}
	step := r.view.Start(fmt.Sprintf("%s: forget the cluster that had this name", name))
	forget := &leave.Options{Factory: r.Factory, Name: name, Force: true, Timeout: time.Minute}
	return false, step.End(leave.Run(ctx, forget, r.hub))
}

// installed says whether a cluster holds what joining installs.
func installed(ctx context.Context, kubeconfig string) (bool, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return false, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return false, err
	}
	_, err = client.CoreV1().Secrets(v1alpha1.AgentNamespace).Get(ctx, "umbel-agent-bootstrap", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// connected waits until the cluster answers through the hub: what its status says may be the word of a hub that is no
// more, and after a restart agents need a moment.
func (r *fleet) connected(ctx context.Context, name v1alpha1.ClusterName) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		cmd := exec.CommandContext(ctx, filepath.Join(r.programs, "umbel"), "--home", r.Home, "--kubeconfig", r.Kubeconfig,
			"kubectl", string(name), "--", "get", "--raw", "/readyz")
		out, err := cmd.CombinedOutput()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("cluster %s does not answer through the hub: %s", name, bytes.TrimSpace(out))
		}
	}
}
