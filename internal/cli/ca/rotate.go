package ca

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
)

// answerWithin is how long a hub may take to answer a request; it takes a moment.
const answerWithin = 30 * time.Second

// wishes are the flags of `umbel ca rotate`.
type wishes struct {
	compromised, finish, cancel bool
}

func newRotateCmd(f *client.Factory) *cobra.Command {
	var w wishes
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Rotate the certificate authority while every member stays connected",
		Long: "Rotate the certificate authority while every member stays connected.\n\n" +
			"A new authority is announced to all members; when those that are connected trust it, it issues; a day later the old one\n" +
			"is retired. The hub takes these steps by itself, also after it was started anew. The old authority endorses the new\n" +
			"one: a member that was away, for months too, comes back with its pinned key, and kubeconfigs go on working.\n\n" +
			"With --compromised, because the key of the authority was stolen, nothing is endorsed, and members are told to distrust\n" +
			"what there was. The hub waits for all members, those that are away too, or for --finish. Who is left behind\n" +
			"needs `umbel join` again, and people `umbel kubeconfig`.",
		Example: `  # rotate; then watch how far it is
  umbel ca rotate
  umbel ca status

  # the authority's key was stolen
  umbel ca rotate --compromised

  # do not wait any longer: not for members that do not answer, and not for the overlap to end
  umbel ca rotate --finish`,
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if w.compromised && w.finish || w.compromised && w.cancel || w.finish && w.cancel {
				return exit.Usagef("--compromised, --finish and --cancel are three different wishes: give one of them")
			}
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return w.rotate(ctx, f, hub) })
		},
	}
	cmd.Flags().BoolVar(&w.compromised, "compromised", false, "the authority's key was stolen: nothing of it counts any more")
	cmd.Flags().BoolVar(&w.finish, "finish", false, "take the steps that are left now, without waiting")
	cmd.Flags().BoolVar(&w.cancel, "cancel", false, "drop the new authority, while it is only announced")
	return cmd
}

// action is what is asked for, and what it is called when it was done.
func (w wishes) action() (action v1alpha1.CAAction, done string) {
	switch {
	case w.compromised:
		return v1alpha1.CARotateCompromised, "rotation begun, because of a stolen key"
	case w.finish:
		return v1alpha1.CAFinish, "rotation finishes without waiting"
	case w.cancel:
		return v1alpha1.CACancel, "rotation cancelled"
	}
	return v1alpha1.CARotate, "rotation begun"
}

func (w wishes) rotate(ctx context.Context, f *client.Factory, hub *client.Hub) error {
	if _, _, err := read(ctx, hub); err != nil {
		return err
	}
	action, done := w.action()
	request := v1alpha1.CARequest{ID: rand.Text(), Action: action}
	if err := ask(ctx, hub, request); err != nil {
		return err
	}
	status, err := answer(ctx, hub, request.ID)
	if err != nil {
		return err
	}
	if status.Refused != "" {
		return errors.New(status.Refused)
	}
	fmt.Fprintln(f.Out, done)
	f.Note("`umbel ca status` says how far it is")
	if w.compromised {
		f.Note("Members that are away need `umbel join` again, and people `umbel kubeconfig`, once it has switched")
	}
	return nil
}

// ask puts the request where the hub sees it. Of two people who ask at once, one is told.
func ask(ctx context.Context, hub kube.Client, request v1alpha1.CARequest) error {
	raw, err := json.Marshal(request)
	if err != nil {
		return err
	}
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		status, talk, err := read(ctx, hub)
		if err != nil {
			return err
		}
		var waiting v1alpha1.CARequest
		if err := json.Unmarshal([]byte(talk.Data[v1alpha1.CARequestKey]), &waiting); err == nil && waiting.ID != status.Request {
			return fmt.Errorf("the hub has not answered the request before this one yet (%s): try again, or look with `umbel ca status`", waiting.Action)
		}
		before := talk.DeepCopy()
		talk.Data[v1alpha1.CARequestKey] = string(raw)
		return hub.Patch(ctx, talk, kube.MergeFromWithOptions(before, kube.MergeFromWithOptimisticLock{}))
	})
}

// answer waits until the hub has answered.
func answer(ctx context.Context, hub kube.Client, id string) (status v1alpha1.CAStatus, err error) {
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, answerWithin, true, func(ctx context.Context) (bool, error) {
		var err error
		status, _, err = read(ctx, hub)
		return status.Request == id, err
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return status, fmt.Errorf("the hub has not answered for %s; what was asked for stays asked for, and `umbel ca status` says when it has", answerWithin)
	}
	return status, err
}
