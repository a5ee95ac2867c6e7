package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/delivery/source"
)

// maxLeftOut bounds what a Release names of what is left out.
const maxLeftOut = 100

// retryStore is the wait after the registry did not take something.
const retryStore = 10 * time.Second

// attempt is a rendering that made no new Release, and what came of it. The same inputs would give the same.
type attempt struct {
	source    v1alpha1.Source
	inputs    string // of the variants
	commit    string
	values    string // the digest of those of a chart
	release   string // the current one at the time
	variables []string
	classes   string // of the clusters that were selected
	limit     string // of objects
	rendered  metav1.Condition
	gives     bool // the current Release is what it gives
}

// render sees to it that the current Release is what the source says now, with a variant for every selected cluster.
func (c *Controller) render(ctx context.Context, v *visit) error {
	ended := c.ended(v)
	if v.valuesUnknown || v.seen.Bar != (decide.Bar{}) {
		return nil
	}
	from, commit := v.pkg.Spec.Source, v.commit
	var err error
	if v.inputs, err = Inputs(v.pkg.Spec.Variants); err != nil {
		return fmt.Errorf("reading the variants of package %s: %w", v.key, err)
	}
	current, away := v.seen.Release, commit == ""
	if away {
		// The source cannot be read now. New clusters still get the revision that the others have.
		if current == nil || !SameSource(current.Spec.Source, from) || decide.DoubtOf(v.pkg) == decide.DoubtAll || !v.seen.Verified(current) {
			return nil
		}
		commit = current.Spec.Revision
	}
	commit = c.unchanged(v, commit)
	whole := true
	if current != nil && SameSource(current.Spec.Source, from) && current.Spec.Revision == commit && current.Spec.Inputs == v.inputs && (away || v.sameValues() && slices.Equal(current.Spec.RemoteBases, v.memo.valued.pins)) {
		classes, missing := decide.Classes(current.Spec.Variables, v.selected())
		if whole, err = c.stored(ctx, v); err != nil {
			v.storeFailed(err)
			return nil
		}
		if whole && decide.Covers(&current.Spec, classes) && (len(missing) == 0 || v.memo.files != nil) {
			v.gives, v.memo.unplanned = true, nil
			v.set(renderedCondition(&current.Spec, missing, v.memo.files))
			return nil
		}
	}
	if whole && v.tried(from, commit) {
		v.set(v.memo.tried.rendered)
		v.gives = v.memo.tried.gives
		if r := v.memo.unplanned; r != nil && c.admit(v, r) {
			v.released(r)
		}
		return nil
	}
	return c.rendered(ctx, v, ended, commit)
}

// tried says whether this very rendering was done already and made no Release.
func (v *visit) tried(from v1alpha1.Source, commit string) bool {
	t := &v.memo.tried
	return t.commit == commit && t.inputs == v.inputs && t.values == v.memo.valued.digest && SameSource(t.source, from) && t.limit == limitOf(v.team) && t.release == v.pkg.Status.Release &&
		t.classes == classesKey(t.variables, v.selected())
}

func classesKey(variables []string, selected []decide.Cluster) string {
	classes, missing := decide.Classes(variables, selected)
	var key strings.Builder
	for _, class := range classes {
		fmt.Fprintf(&key, "%q;", class.Values)
	}
	fmt.Fprintf(&key, "%v", missing)
	return key.String()
}

// stored says whether the registry has all of the current Release. It is asked once for each Release and process.
func (c *Controller) stored(ctx context.Context, v *visit) (bool, error) {
	release := v.seen.Release
	if v.memo.verified == release.Name {
		return true, nil
	}
	for _, variant := range release.Spec.Variants {
		has, err := c.content.Has(ctx, release.Spec.Repository, variant.Digest, variant.Size)
		if err != nil || !has {
			return false, err
		}
	}
	v.memo.verified = release.Name
	return true, nil
}

func (v *visit) storeFailed(err error) {
	v.set(metav1.Condition{
		Type: v1alpha1.ConditionRendered, Status: metav1.ConditionFalse,
		Reason: v1alpha1.ReasonStoreFailed, Message: err.Error(),
	})
	v.again(retryStore)
}

// remember keeps the outcome of a rendering that made no Release.
func (v *visit) remember(r *rendering, condition metav1.Condition) {
	v.memo.tried = attempt{
		source: released(r.pkg.Spec.Source), inputs: r.inputs, values: r.valued.digest, commit: r.commit, release: v.pkg.Status.Release,
		variables: r.variables, classes: classesKey(r.variables, r.selected), limit: limitOf(v.team), rendered: condition, gives: v.gives,
	}
}

func (v *visit) renderFailed(r *rendering, err error) {
	condition := metav1.Condition{
		Type: v1alpha1.ConditionRendered, Status: metav1.ConditionFalse,
		Reason: v1alpha1.ReasonRenderFailed, Message: fmt.Sprintf("%s: %s", revisionOf(r.pkg.Spec.Source, r.commit), err),
	}
	if errors.Is(err, render.ErrEmpty) {
		condition.Reason = v1alpha1.ReasonEmptyRender
	}
	if errors.Is(err, decide.ErrTooLarge) {
		condition.Reason = v1alpha1.ReasonQuotaExceeded
	}
	condition.Message = v.andStays(condition.Message)
	condition.Message = condition.Message[:min(len(condition.Message), 32<<10)]
	v.set(condition)
	v.remember(r, condition)
}

// renderedCondition says what came of a rendering that worked. Clusters that lack a value keep what they hold.
// files says which file refers to a variable.
func renderedCondition(release *v1alpha1.ReleaseSpec, missing []decide.Missing, files map[string]string) metav1.Condition {
	condition := metav1.Condition{Type: v1alpha1.ConditionRendered, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRendered}
	if len(missing) == 0 {
		objects := 0
		for _, variant := range release.Variants {
			objects = max(objects, int(variant.Objects))
		}
		condition.Message = fmt.Sprintf("%s gives %s", revisionOf(release.Source, release.Revision), v1alpha1.Counted(objects, "object"))
		if len(release.Variants) == 0 {
			condition.Message = revisionOf(release.Source, release.Revision) + " waits for a cluster to be selected"
		}
		if len(release.Variables) > 0 {
			condition.Message += fmt.Sprintf(", different by %s", strings.Join(release.Variables, ", "))
		}
		if n := len(release.LeftOut); n > 0 {
			condition.Message += fmt.Sprintf("; left out: %s", strings.Join(release.LeftOut[:min(n, decide.MaxNames)], ", "))
		}
		return condition
	}
	condition.Status, condition.Reason = metav1.ConditionFalse, v1alpha1.ReasonNothingSelected
	var each []string
	for i, m := range missing {
		if m.Variable != "" {
			condition.Reason = v1alpha1.ReasonVariableMissing
		}
		if i < decide.MaxNames {
			each = append(each, m.Tell(files))
		}
	}
	condition.Message = strings.Join(each, "; ")
	if more := len(missing) - decide.MaxNames; more > 0 {
		condition.Message += fmt.Sprintf("; and %d more", more)
	}
	condition.Message += "; these clusters keep what they hold"
	return condition
}

// release creates a Release, and says whether it is the current one now: where a Plan is required it may have to wait. When it
// is there already, a crash came between that and the status.
func (c *Controller) release(ctx context.Context, v *visit, spec v1alpha1.ReleaseSpec) (admitted bool, err error) {
	name, err := releaseName(spec)
	if err != nil {
		return false, err
	}
	release := &v1alpha1.Release{
		ObjectMeta: metav1.ObjectMeta{Namespace: v.pkg.Namespace, Name: name},
		Spec:       spec,
	}
	mark := ""
	if v.signed != nil && spec.Revision == v.signed.Revision {
		mark = markOf(v.signed)
	}
	if release, err = c.marked(release, mark); err != nil {
		return false, err
	}
	if err := controllerutil.SetOwnerReference(v.pkg, release, c.client.Scheme()); err != nil {
		return false, fmt.Errorf("making release %s: %w", name, err)
	}
	err = c.client.Create(ctx, release)
	if apierrors.IsAlreadyExists(err) {
		var there v1alpha1.Release
		if err := c.live.Get(ctx, client.ObjectKeyFromObject(release), &there); err != nil {
			return false, fmt.Errorf("reading release %s: %w", name, err)
		}
		if !equality.Semantic.DeepEqual(there.Spec, spec) {
			v.set(metav1.Condition{
				Type: v1alpha1.ConditionRendered, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNotSealed,
				Message: fmt.Sprintf("release %s of namespace %s has another content than its name says: delete it, and the hub makes it anew", name, v.pkg.Namespace),
			})
			return false, nil
		}
		// Whoever made it: it is what was rendered just now.
		release, err = c.mark(ctx, &there, mark)
	}
	if err != nil {
		return false, fmt.Errorf("creating release %s: %w", name, err)
	}
	if !c.admit(v, release) {
		return false, nil
	}
	v.released(release)
	return true, nil
}

func (v *visit) released(r *v1alpha1.Release) {
	variants := ""
	if n := len(r.Spec.Variants); n > 1 {
		variants = fmt.Sprintf(" in %d variants", n)
	}
	v.happened(corev1.EventTypeNormal, "Released", "Release", "Released %s as %s%s", source.Short(r.Spec.Revision), r.Name, variants)
}

// releaseName makes the name of a Release of what it holds: the Package's name and eight hex digits of a hash.
func releaseName(spec v1alpha1.ReleaseSpec) (string, error) {
	// Nothing that is here but in doubt: the order of variables and variants is fixed, and maps there are none.
	content, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("naming a release of %s: %w", spec.PackageRef.Name, err)
	}
	sum := sha256.Sum256(content)
	return spec.PackageRef.Name + "-" + hex.EncodeToString(sum[:4]), nil
}
