package delivery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/identity/seal"
)

// Sealer signs what this hub says. *trust.Authority is one.
type Sealer interface {
	// Sign signs a statement. Each time gives another signature.
	Sign(seal.Said) (*seal.Seal, error)
	// Signed says why a statement is not one that this hub signed, now or earlier; nil when it is.
	Signed(seal.Said, *seal.Seal) error
	// Current says whether what signs now has made the seal, so that it will count for longest.
	Current(*seal.Seal) bool
	// Sealing is since when this hub signs.
	Sealing() time.Time
	// Changed returns a channel that is closed when Signed or Current may have other answers, and another one from then on.
	Changed() <-chan struct{}
}

// statementOf is what the hub says of a Release.
func statementOf(release *v1alpha1.Release) (*seal.Statement, *seal.Contents, error) {
	contents := make([]seal.Content, len(release.Spec.Variants))
	for i, variant := range release.Spec.Variants {
		contents[i] = seal.Content{Digest: variant.Digest, Size: variant.Size}
	}
	tree, err := seal.NewContents(contents)
	if err != nil {
		return nil, nil, err
	}
	root, err := tree.Root()
	return &seal.Statement{
		Package: string(v1alpha1.KeyOf(release.Namespace, release.Spec.PackageRef.Name)), Release: release.Name, Revision: release.Spec.Revision, Repository: release.Spec.Repository,
		Verified: release.Annotations[v1alpha1.VerifiedAnnotation], Variants: int64(len(contents)), Root: root,
	}, tree, err
}

// sealOf signs a Release as it is.
func sealOf(by Sealer, release *v1alpha1.Release) (string, error) {
	statement, _, err := statementOf(release)
	if err != nil {
		return "", err
	}
	sealed, err := by.Sign(statement)
	if err != nil {
		return "", err
	}
	return sealed.Text()
}

// sealed says whether a Release has the seal that it will have.
func (c *Controller) sealed(release *v1alpha1.Release) bool {
	if c.sealer == nil {
		return true
	}
	sealed, err := seal.Parse(release.Annotations[v1alpha1.SealAnnotation])
	if err != nil || !c.sealer.Current(sealed) {
		return false
	}
	statement, _, err := statementOf(release)
	return err == nil && c.sealer.Signed(statement, sealed) == nil
}

// believes says whether a Release is what this hub made. Who may write Releases may make one, or delete one and make another of
// its name. What is older than all seals is taken as it is.
func (c *Controller) believes(v *visit, release *v1alpha1.Release) bool {
	if c.sealer == nil {
		return true
	}
	under := c.sealer.Changed()
	if c.beliefs.has(under, release) {
		return true
	}
	if why := c.disbelief(release); why != nil {
		v.forged = fmt.Errorf("release %s is not what this hub made (%w): somebody else made it or changed it; clusters keep what they hold; delete it, and the hub makes what it needs",
			release.Name, why)
		if v.memo.forged != release.UID {
			v.memo.forged = release.UID
			v.happened(corev1.EventTypeWarning, v1alpha1.ReasonNotSealed, "Verify", "Release %s is not what this hub made: %s", release.Name, why)
			c.log.Error("a release is not what this hub made: it is told to nobody", "package", v.key, "release", release.Name, "because", why)
		}
		return false
	}
	c.beliefs.add(under, release)
	return true
}

// beliefs is the version of each Release in which its seal was found to hold. All Packages share it: of one on which many others
// depend each of them asks, in each of its passes. What was found before the hub's CA
// changed is worth nothing: the key that signed may be known as stolen since.
type beliefs struct {
	mu    sync.Mutex
	under <-chan struct{} // of the sealer as it was asked
	of    map[types.UID]string
}

// maxBeliefs is how many are kept: beyond it everything is verified once more.
const maxBeliefs = 20000

func (b *beliefs) has(under <-chan struct{}, release *v1alpha1.Release) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.under != under {
		b.under, b.of = under, nil
	}
	version, there := b.of[release.UID]
	return there && version == release.ResourceVersion
}

func (b *beliefs) add(under <-chan struct{}, release *v1alpha1.Release) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.under != under {
		return
	}
	if b.of == nil || len(b.of) >= maxBeliefs {
		b.of = map[types.UID]string{}
	}
	b.of[release.UID] = release.ResourceVersion
}

// disbelief says why a Release is not what this hub made; nil when it is.
func (c *Controller) disbelief(release *v1alpha1.Release) error {
	text := release.Annotations[v1alpha1.SealAnnotation]
	if text == "" {
		if release.CreationTimestamp.After(c.sealer.Sealing()) {
			return errors.New("it has no seal")
		}
		return nil
	}
	sealed, err := seal.Parse(text)
	if err != nil {
		return err
	}
	statement, _, err := statementOf(release)
	if err != nil {
		return err
	}
	return c.sealer.Signed(statement, sealed)
}

// seal seals the Releases that clusters may be told and that have no seal yet, or one of a signer before.
func (c *Controller) seal(ctx context.Context, v *visit) error {
	sealed := map[*v1alpha1.Release]*v1alpha1.Release{}
	for release := range v.seen.Releases() {
		// Whether its seal holds was looked at when it was read.
		if has, err := seal.Parse(release.Annotations[v1alpha1.SealAnnotation]); c.sealer == nil || err == nil && c.sealer.Current(has) {
			sealed[release] = release
			continue
		}
		marked, err := c.marked(release, release.Annotations[v1alpha1.VerifiedAnnotation])
		if err == nil {
			err = c.disbelief(release) // after it was signed: what signed last says of whom it was signed before
		}
		if err == nil && marked != release {
			err = c.client.Patch(ctx, marked, client.MergeFrom(release))
		}
		if err != nil {
			return fmt.Errorf("sealing release %s of package %s: %w", release.Name, v.key, err)
		}
		sealed[release] = marked
	}
	v.seen.Replace(func(release *v1alpha1.Release) *v1alpha1.Release { return sealed[release] })
	return nil
}

// sealAnew asks again for all Packages whenever the hub's CA has changed: what clusters may be told has to be sealed by the one that
// they will know for longest, whether its source ever changes again or not.
func (c *Controller) sealAnew(ctx context.Context) error {
	if c.sealer == nil {
		return nil
	}
	for changed := c.sealer.Changed(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		changed = c.sealer.Changed()
		var packages v1alpha1.PackageList
		if err := c.client.List(ctx, &packages, client.UnsafeDisableDeepCopy); err != nil {
			return fmt.Errorf("listing the packages whose releases are to be sealed anew: %w", err)
		}
		for i := range packages.Items {
			c.again(v1alpha1.KeyOf(packages.Items[i].Namespace, packages.Items[i].Name))
		}
	}
}

// seals returns what makes the message of a Release's seal, for each of its variants.
func seals(release *v1alpha1.Release) func(variant int) *wire.Seal {
	none := func(int) *wire.Seal { return nil }
	sealed, err := seal.Parse(release.Annotations[v1alpha1.SealAnnotation])
	if err != nil {
		return none
	}
	statement, tree, err := statementOf(release)
	if err != nil {
		return none
	}
	return func(variant int) *wire.Seal {
		path, err := tree.Prove(variant)
		if err != nil {
			return nil
		}
		place := seal.Place{Variants: statement.Variants, Variant: int64(variant), Root: statement.Root[:], Path: path}
		return seal.Of(sealed, statement.Verified, place)
	}
}
