package console

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

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
	// Details are the objects or clusters that it is about, where it is about several.
	Details []string `json:"details,omitempty"`
	// Not says why the person may not; empty when they may.
	Not string `json:"not,omitempty"`
	// Path is below the hub's API, and Patch a JSON merge patch, which fails when the object has changed meanwhile. While its Generation is this one, that
	// was its status alone, and the patch holds.
	Path       string `json:"path"`
	Patch      string `json:"patch,omitempty"`
	Generation int64  `json:"generation"`
	// Creates is an object, where the deed makes one: Path is where those of its kind are made, and there is no patch.
	Creates any `json:"creates,omitempty"`
	// Deletes is the UID of an object, where the deed deletes the one at Path: another by then is left alone.
	Deletes string `json:"deletes,omitempty"`
	Umbel   string `json:"umbel"`
	Kubectl string `json:"kubectl"`
}

// saying is a word that can be said of an object, before it is known whether it fits.
type saying[T client.Object] struct {
	name, title, means, umbel string
	change                    func(T) (done string, err error)
	details                   []string
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
		d := Deed{Name: saying.name, Title: saying.title, Means: saying.means, Done: done, Details: saying.details, Umbel: saying.umbel, Generation: object.GetGeneration()}
		if d.Patch, d.Kubectl, err = patchOf(resource, object, after); err != nil {
			return nil, err
		}
		d.Path = pathOf(resource, object.GetNamespace()) + "/" + object.GetName()
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

// pathOf is where the hub's API has objects of a kind.
func pathOf(resource, namespace string) string {
	path := "/apis/" + v1alpha1.GroupVersion.String() + "/"
	if namespace != "" {
		path += "namespaces/" + namespace + "/"
	}
	return path + resource
}

// creates is the deed d where it makes an object.
func (c *Console) creates(ctx context.Context, s *session, resource string, object client.Object, d Deed) (Deed, error) {
	may, err := c.may(ctx, s, "create", resource, object.GetNamespace(), "")
	if err != nil {
		return d, err
	}
	if !may {
		d.Not = fmt.Sprintf("that takes the verb %q on %s.umbel.dev in namespace %q", "create", resource, object.GetNamespace())
	}
	d.Path, d.Creates = pathOf(resource, object.GetNamespace()), object
	return d, nil
}

// creating is the command that makes an object as it is.
func creating(object client.Object) (string, error) {
	manifest, err := yaml.Marshal(object)
	if err != nil {
		return "", err
	}
	return "kubectl create -f - <<'EOF'\n" + string(manifest) + "EOF", nil
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
	return string(locked), fmt.Sprintf("kubectl patch %s.umbel.dev %s%s --type merge -p %s", resource, before.GetName(), where, inShell(string(plain))), nil
}

// plainWord is what a shell takes as it is.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./=,:@%+-]+$`)

// inShell is a text as one word of a shell.
func inShell(text string) string {
	if plainWord.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// rolloutDeeds are what can be said of a rollout now.
func (c *Console) rolloutDeeds(ctx context.Context, s *session, r *v1alpha1.Rollout) ([]Deed, error) {
	if r.Status.Successor != "" {
		return []Deed{}, nil
	}
	say := func(verb, title, means string, change func(*v1alpha1.Rollout) (string, error)) saying[*v1alpha1.Rollout] {
		umbel := "umbel rollout " + verb + " " + view.RolloutHandle(r) + view.InNamespace(r.Namespace)
		return saying[*v1alpha1.Rollout]{name: verb, title: title, means: means, umbel: umbel, change: change}
	}
	var sayings []saying[*v1alpha1.Rollout]
	if r.Status.Completed == nil && !r.Over() {
		sayings = append(sayings,
			say("approve", "Approve", "The stage whose turn it is begins, or the rollout goes on after it.",
				func(r *v1alpha1.Rollout) (string, error) { return word.Approve(r, "", "") }),
			say("pause", "Pause", "No further cluster is moved. Those that were moved carry on, and keep the release.", word.Pause),
			say("promote", "Promote", "The stage whose turn it is waits for nothing but its clusters: no approval, window, gate, canary or bake time.",
				func(r *v1alpha1.Rollout) (string, error) { return word.Promote(r, "", false) }),
		)
	}
	sayings = append(sayings,
		say("resume", "Resume", "The rollout goes on. Clusters that failed try again.",
			func(r *v1alpha1.Rollout) (string, error) { return word.Resume(r, false) }),
		say("back", "Roll back", "Every cluster that was moved goes back to "+orGood(r.Spec.Previous)+". That waits for no window, approval or bake time, but for maxUnavailable.",
			func(r *v1alpha1.Rollout) (string, error) { return word.Back(r, "") }),
	)
	if r.Status.Completed == nil && !r.Over() {
		sayings = append(sayings, say("abort", "Abort", "The rollout ends for good where it is: every cluster keeps what it was told.", word.Abort))
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
	say := func(verb, title, means, done string, change func(*v1alpha1.MemberCluster) error) saying[*v1alpha1.MemberCluster] {
		return saying[*v1alpha1.MemberCluster]{name: verb, title: title, means: means, umbel: "umbel " + verb + " " + member.Name,
			change: func(m *v1alpha1.MemberCluster) (string, error) { return done, change(m) }}
	}
	level := func(verb, title string, to v1alpha1.Level, means string) saying[*v1alpha1.MemberCluster] {
		done := strings.ToLower(string(to))
		s := say(verb, title, means, done, func(m *v1alpha1.MemberCluster) error { return word.SetLevel(m, to) })
		s.umbel = "umbel level " + member.Name + " " + done
		return s
	}
	sayings := []saying[*v1alpha1.MemberCluster]{
		say("resume", "Resume", "It is let in again. Its agent comes within half a minute and catches up.", "resumed", word.Readmit),
		say("suspend", "Suspend", "Its session is ended and it gets nothing new. What it holds stays, and its agent goes on repairing it.", "suspended", word.Suspend),
		level("observe", "Observe", v1alpha1.LevelObserved, "It is only looked at: nothing is written there but what its agent needs itself, and no Placement selects it anew. What packages put there stays as it is, and is not repaired."),
		level("attach", "Attach", v1alpha1.LevelAttached, "Packages are delivered there and repaired, and people may change things through the hub. What has changed for it meanwhile is done now: releases, and removals, within their budgets."),
	}
	if member.Spec.Admission == v1alpha1.AdmissionPending || member.Spec.Admission == v1alpha1.AdmissionDenied {
		sayings = []saying[*v1alpha1.MemberCluster]{
			say("approve", "Approve", "Its agent is let in. Compare its key with what the agent's log says there first.", "approved", word.Admit),
			say("deny", "Deny", "It is refused, and remembered with its key.", "denied", word.Deny),
		}
	}
	return deeds(ctx, c, s, "memberclusters", member, sayings)
}

// packageDeeds are what can be said of a package now.
func (c *Console) packageDeeds(ctx context.Context, s *session, pkg *v1alpha1.Package) ([]Deed, error) {
	now := c.Now().UTC().Format("2006-01-02T15:04:05.000000000Z")
	sayings, err := c.deleteDeeds(ctx, s, pkg)
	if err != nil {
		return nil, err
	}
	return deeds(ctx, c, s, "packages", pkg, append(sayings, saying[*v1alpha1.Package]{
		name: "refresh", title: "Fetch now", means: "The hub asks the source at once, and not at the end of its interval.", umbel: "umbel refresh package " + pkg.Name + view.InNamespace(pkg.Namespace),
		change: func(p *v1alpha1.Package) (string, error) {
			if p.Spec.Source.Inline != nil {
				return "", word.ErrAlreadySo
			}
			annotations := map[string]string{}
			maps.Copy(annotations, p.Annotations)
			annotations[v1alpha1.RefreshAnnotation] = now
			p.Annotations = annotations
			return "the hub was asked to fetch", nil
		},
	}))
}
