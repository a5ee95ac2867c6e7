package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source"
)

// Releases are marked as verified, and the mark is taken away when a key is.
//
// +kubebuilder:rbac:groups=umbel.dev,resources=releases,verbs=patch

// review looks whether the Releases that clusters may be told are verified under the rule and the keys that there are now. One
// that was made before there was a rule may be; one whose key was taken out is not any more.
func (c *Controller) review(ctx context.Context, v *visit, r rule, ref source.Ref) error {
	reviewed := map[*v1alpha1.Release]*v1alpha1.Release{}
	for release := range v.seen.Releases() {
		marked, err := c.mark(ctx, release, markOf(c.standing(v, r, ref, release)))
		if err != nil {
			return fmt.Errorf("marking release %s of package %s: %w", release.Name, v.key, err)
		}
		reviewed[release] = marked
	}
	v.seen.Replace(func(release *v1alpha1.Release) *v1alpha1.Release { return reviewed[release] })
	if v.seen.Release != nil {
		v.memo.release = v.seen.Release
	}
	return nil
}

// standing returns what is to be said of a Release: what is said already, where that holds or cannot be told.
func (c *Controller) standing(v *visit, r rule, ref source.Ref, release *v1alpha1.Release) *v1alpha1.Verified {
	said := release.Verified()
	if v.memo.keyring.err != nil {
		return said.Doubted() // there is no key
	}
	if !SameSource(release.Spec.Source, v.pkg.Spec.Source) && said == nil {
		return nil // of another place, whose cache this is not
	}
	revisions := []source.Revision{{ID: release.Spec.Revision}}
	if release.Spec.Revision == v.head.ID {
		revisions[0] = v.head
	}
	if said != nil {
		revisions = append([]source.Revision{{ID: said.Revision, Tag: said.Tag}}, revisions...)
	}
	for i, revision := range revisions {
		found := c.judge(v, r, ref, revision)
		if found.err == nil {
			return &v1alpha1.Verified{Under: r.digest, Revision: revision.ID, Tag: revision.Tag, By: found.by}
		}
		if lost := (*unreadable)(nil); i == 0 && said != nil && errors.As(found.err, &lost) {
			return said
		}
	}
	return said.Doubted()
}

// sign marks the current Release, when it is what a verified revision gives: it may have been made of an earlier one.
func (c *Controller) sign(ctx context.Context, v *visit) error {
	release := v.seen.Release
	if v.signed == nil || !v.gives || release == nil || v.seen.Verified(release) {
		return nil
	}
	marked, err := c.mark(ctx, release, markOf(v.signed))
	if err != nil {
		return fmt.Errorf("marking release %s of package %s: %w", release.Name, v.key, err)
	}
	v.seen.Release, v.memo.release = marked, marked
	return nil
}

// mark writes on a Release by whom its source was signed, and returns it as it is then; nothing takes that away. The Release itself,
// which others read, is not changed.
func (c *Controller) mark(ctx context.Context, release *v1alpha1.Release, mark string) (*v1alpha1.Release, error) {
	marked, err := c.marked(release, mark)
	if err != nil || marked == release {
		return release, err
	}
	return marked, c.client.Patch(ctx, marked, client.MergeFrom(release))
}

// marked returns a Release with what its source was signed by, and with a seal of all of it; the same one where nothing changes.
func (c *Controller) marked(release *v1alpha1.Release, mark string) (*v1alpha1.Release, error) {
	if release.Annotations[v1alpha1.VerifiedAnnotation] == mark && c.sealed(release) {
		return release, nil
	}
	marked := release.DeepCopy()
	if marked.Annotations == nil {
		marked.Annotations = map[string]string{}
	}
	delete(marked.Annotations, v1alpha1.VerifiedAnnotation)
	if mark != "" {
		marked.Annotations[v1alpha1.VerifiedAnnotation] = mark
	}
	if c.sealer == nil {
		return marked, nil
	}
	text, err := sealOf(c.sealer, marked)
	marked.Annotations[v1alpha1.SealAnnotation] = text
	return marked, err
}

func markOf(verified *v1alpha1.Verified) string {
	raw, err := json.Marshal(verified)
	if verified == nil || err != nil { // there is nothing in it but texts
		return ""
	}
	return string(raw)
}
