package console

import (
	"context"
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/view"
	"umbel.dev/umbel/internal/cli/word"
)

// Deed is something that can be done to an object now. The page sends its patch to the hub's API as the person, and shows how a terminal
// does the same.
type Deed struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Means says what becomes of it, and Done what is then so.
	Means string `json:"means"`
	Done  string `json:"done"`
	// Not says why the person may not; empty when they may.
	Not string `json:"not,omitempty"`
	// Path is below the hub's API, and Patch a JSON merge patch, which fails when the object has changed meanwhile.
	Path    string `json:"path"`
	Patch   string `json:"patch"`
	Umbel   string `json:"umbel"`
	Kubectl string `json:"kubectl"`
}

// saying is a word that can be said of an object, before it is known whether it fits.
type saying[T client.Object] struct {
	name, title, means, umbel string
	change                    func(T) (done string, err error)
}

// deeds returns what sayings make of an object: those that fit. resource is that of the object.
func deeds[T client.Object](ctx context.Context, c *Console, s *session, resource string, object T, sayings []saying[T]) ([]Deed, error) {
	found := []Deed{}
	for _, saying := range sayings {
		after, ok := object.DeepCopyObject().(T)
		if !ok {
			continue
		}
		done, err := saying.change(after)
		if err != nil { // it does not fit, or is so already
			continue
		}
		d := Deed{Name: saying.name, Title: saying.title, Means: saying.means, Done: done, Umbel: saying.umbel}
		if d.Patch, d.Kubectl, err = patchOf(resource, object, after); err != nil {
			return nil, err
		}
		d.Path = "/apis/" + v1alpha1.GroupVersion.String() + "/"
		if namespace := object.GetNamespace(); namespace != "" {
			d.Path += "namespaces/" + namespace + "/"
		}
		d.Path += resource + "/" + object.GetName()
		found = append(found, d)
	}
	if len(found) == 0 {
		return found, nil
	}
	may, err := c.may(ctx, s, "patch", resource, object.GetNamespace(), object.GetName())
	if err != nil {
		return nil, err
	}
	for i := range found {
		if !may {
			found[i].Not = fmt.Sprintf("that takes the verb %q on %s.umbel.dev %q", "patch", resource, object.GetName())
		}
	}
	return found, nil
}

// patchOf returns the change as a patch that fails when the object is another one by then, and as a command, which does not.
func patchOf(resource string, before, after client.Object) (patch, command string, err error) {
	locked, err := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}).Data(after)
	if err != nil {
		return "", "", err
	}
	plain, err := client.MergeFrom(before).Data(after)
	if err != nil {
		return "", "", err
	}
	where := ""
	if before.GetNamespace() != "" {
		where = " -n " + before.GetNamespace()
	}
	quoted := strings.ReplaceAll(string(plain), "'", `'\''`)
	return string(locked), fmt.Sprintf("kubectl patch %s.umbel.dev %s%s --type merge -p '%s'", resource, before.GetName(), where, quoted), nil
}

// rolloutDeeds are what can be said of a rollout now.
func (c *Console) rolloutDeeds(ctx context.Context, s *session, r *v1alpha1.Rollout) ([]Deed, error) {
	if r.Status.Successor != "" {
		return []Deed{}, nil
	}
	says := func(verb string) string {
		return "umbel rollout " + verb + " " + view.RolloutHandle(r) + view.InNamespace(r.Namespace)
	}
	var sayings []saying[*v1alpha1.Rollout]
	if r.Status.Completed == nil && !r.Over() {
		sayings = append(sayings,
			saying[*v1alpha1.Rollout]{"approve", "Approve", "The stage whose turn it is begins, or the rollout goes on after it.", says("approve"),
				func(r *v1alpha1.Rollout) (string, error) { return word.Approve(r, "", "") }},
			saying[*v1alpha1.Rollout]{"pause", "Pause", "No further cluster is moved. Those that were moved carry on, and keep the release.", says("pause"), word.Pause},
			saying[*v1alpha1.Rollout]{"promote", "Promote", "The stage whose turn it is waits for nothing but its clusters: no approval, window, gate, canary or bake time.", says("promote"),
				func(r *v1alpha1.Rollout) (string, error) { return word.Promote(r, "", false) }},
		)
	}
	sayings = append(sayings,
		saying[*v1alpha1.Rollout]{"resume", "Resume", "The rollout goes on. Clusters that failed try again.", says("resume"),
			func(r *v1alpha1.Rollout) (string, error) { return word.Resume(r, false) }},
		saying[*v1alpha1.Rollout]{"back", "Roll back", "Every cluster that was moved goes back to " + orGood(r.Spec.Previous) + ". That waits for no window, approval or bake time, but for maxUnavailable.", says("back"),
			func(r *v1alpha1.Rollout) (string, error) { return word.Back(r, "") }},
	)
	if r.Status.Completed == nil && !r.Over() {
		sayings = append(sayings, saying[*v1alpha1.Rollout]{"abort", "Abort", "The rollout ends for good where it is: every cluster keeps what it was told.", says("abort"), word.Abort})
	}
	return deeds(ctx, c, s, "rollouts", r, sayings)
}

func orGood(release string) string {
	if release == "" {
		return "the last good release"
	}
	return release
}

// clusterDeeds are what can be said of a cluster now.
func (c *Console) clusterDeeds(ctx context.Context, s *session, member *v1alpha1.MemberCluster) ([]Deed, error) {
	says := func(done string, change func(*v1alpha1.MemberCluster) error) func(*v1alpha1.MemberCluster) (string, error) {
		return func(m *v1alpha1.MemberCluster) (string, error) { return done, change(m) }
	}
	sayings := []saying[*v1alpha1.MemberCluster]{
		{"resume", "Resume", "It is let in again. Its agent comes within half a minute and catches up.", "umbel resume " + member.Name, says("resumed", word.Readmit)},
		{"suspend", "Suspend", "Its session is ended and it gets nothing new. What it holds stays, and its agent goes on repairing it.", "umbel suspend " + member.Name, says("suspended", word.Suspend)},
	}
	if member.Spec.Admission == v1alpha1.AdmissionPending || member.Spec.Admission == v1alpha1.AdmissionDenied {
		sayings = []saying[*v1alpha1.MemberCluster]{
			{"approve", "Approve", "Its agent is let in. Compare its key with what the agent's log says there first.", "umbel approve " + member.Name, says("approved", word.Admit)},
			{"deny", "Deny", "It is refused, and remembered with its key.", "umbel deny " + member.Name, says("denied", word.Deny)},
		}
	}
	return deeds(ctx, c, s, "memberclusters", member, sayings)
}

// packageDeeds are what can be said of a package now.
func (c *Console) packageDeeds(ctx context.Context, s *session, pkg *v1alpha1.Package) ([]Deed, error) {
	now := c.Now().UTC().Format("2006-01-02T15:04:05.000000000Z")
	return deeds(ctx, c, s, "packages", pkg, []saying[*v1alpha1.Package]{{
		"refresh", "Fetch now", "The hub asks the source at once, and not at the end of its interval.", "umbel refresh package " + pkg.Name + view.InNamespace(pkg.Namespace),
		func(p *v1alpha1.Package) (string, error) {
			if p.Spec.Source.Inline != nil {
				return "", word.ErrAlreadySo
			}
			annotations := map[string]string{}
			for key, value := range p.Annotations {
				annotations[key] = value
			}
			annotations[v1alpha1.RefreshAnnotation] = now
			p.Annotations = annotations
			return "the hub was asked to fetch", nil
		},
	}})
}
