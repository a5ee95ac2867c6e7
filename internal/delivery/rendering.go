package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/decide"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/variable"
)

// maxVariants bounds the variants of one Release, which is one object of the hub's API.
const maxVariants = 4000

// rendering is one of a Package, in the background. It has all of what it is made of: the Package may be another one meanwhile.
type rendering struct {
	pkg      *v1alpha1.Package // its name and its spec alone
	commit   string
	inputs   string // of the variants
	valued   valued
	selected []decide.Cluster

	outcome // once it has ended
}

// outcome is what came of a rendering.
type outcome struct {
	unread    error // the source could not be read
	err       error // it cannot be rendered, or stored
	record    *source.Record
	variables []string
	leftOut   []string
	files     map[string]string // variable -> a file that refers to it
	variants  []v1alpha1.Variant
	missing   []decide.Missing
}

// renderingOf puts together what a rendering is made of.
func renderingOf(v *visit, commit string) *rendering {
	pkg := &v1alpha1.Package{Spec: *v.pkg.Spec.DeepCopy()}
	pkg.Namespace, pkg.Name = v.pkg.Namespace, v.pkg.Name
	return &rendering{pkg: pkg, commit: commit, inputs: v.inputs, valued: v.memo.valued, selected: v.selected()}
}

// fits says whether it is what would be rendered now, of that commit.
func (r *rendering) fits(v *visit, commit string) bool {
	return r.commit == commit && r.inputs == v.inputs && r.valued.digest == v.memo.valued.digest && SameSource(r.pkg.Spec.Source, v.pkg.Spec.Source)
}

// rendered begins to render a commit, or makes use of a rendering of it that has ended: the end of one is the occasion for the
// next pass.
func (c *Controller) rendered(ctx context.Context, v *visit, ended *rendering, commit string) error {
	switch {
	case ended == nil:
	case ended.fits(v, commit):
		v.memo.late = false
		return c.settle(ctx, v, ended)
	case ended.fits(v, ended.commit) && v.memo.late && v.seen.Rule == "":
		// Commits come faster than they are rendered: every second one is taken all the same, or none ever would be.
		v.memo.late = false
		v.again(0)
		return c.settle(ctx, v, ended)
	default:
		v.memo.late = true
	}
	if v.memo.unread != nil {
		v.fetchFailed(v.memo.unread) // until it is known to be otherwise
	}
	v.renders = true
	if c.renderings.under(v.key) {
		return nil
	}
	r, key := renderingOf(v, commit), v.key
	if c.renderings.begin(key, func(ctx context.Context) { r.outcome = c.work(ctx, key, r) }) {
		v.memo.rendering = r
	}
	return nil
}

// ended returns the rendering that has ended, once.
func (c *Controller) ended(v *visit) *rendering {
	r := v.memo.rendering
	if r == nil || c.renderings.under(v.key) {
		return nil
	}
	v.memo.rendering = nil
	return r
}

// work renders, and puts the content for each class of clusters into the registry.
func (c *Controller) work(ctx context.Context, key v1alpha1.PackageKey, r *rendering) (o outcome) {
	c.log.Debug("rendering", "package", key, "revision", r.commit)
	makes, trace, err := c.open(r.pkg, r.commit, r.valued)
	if err != nil {
		o.unread = err
		return o
	}
	family, err := familyOf(r, makes)
	if err != nil {
		o.err = err
		return o
	}
	o.record, o.variables, o.leftOut = recordOf(trace), family.Variables, family.LeftOut(maxLeftOut)
	var classes []decide.Class
	classes, o.missing = decide.Classes(family.Variables, r.selected)
	if len(classes) > maxVariants {
		o.err = fmt.Errorf("the selected clusters need %d variants, at most %d are made: use fewer variables, or labels with fewer values", len(classes), maxVariants)
		return o
	}
	for _, class := range classes {
		variant, err := c.store(ctx, key.Repository(), family, class)
		switch lacking := lackingFor(class, err); {
		case err == nil:
			o.variants = append(o.variants, *variant)
		case len(lacking) > 0:
			o.missing = append(o.missing, lacking...)
		default:
			o.err = err
			return o
		}
	}
	o.files = map[string]string{}
	for _, variable := range family.Variables {
		o.files[variable] = family.File(variable)
	}
	return o
}

// familyOf renders what the selected clusters need.
func familyOf(r *rendering, makes render.Maker) (*render.Family, error) {
	variants, err := variantsOf(r.pkg.Spec.Variants)
	if err != nil {
		return nil, err
	}
	var clusters []variable.Cluster
	for _, cluster := range r.selected {
		clusters = append(clusters, cluster.Facts())
	}
	return render.Variants(makes, variants, clusters)
}

// storeError says that the registry did not take something.
type storeError struct{ error }

// store puts the content for one class into the registry, unless it is known to be there.
func (c *Controller) store(ctx context.Context, repository string, family *render.Family, class decide.Class) (*v1alpha1.Variant, error) {
	kept := func(output render.Output) (bool, error) {
		has, err := c.content.Has(ctx, repository, output.Digest, output.Size)
		if err != nil {
			return false, &storeError{err}
		}
		return has, nil
	}
	output, err := c.renders.Output(family, class.Values, repository, kept, func() (render.Output, error) {
		return c.push(ctx, repository, family, class)
	})
	if err != nil {
		return nil, err
	}
	return &v1alpha1.Variant{Values: class.Values, Digest: output.Digest, Size: output.Size, Objects: output.Objects}, nil
}

// push makes the content for one class and puts it into the registry.
func (c *Controller) push(ctx context.Context, repository string, family *render.Family, class decide.Class) (render.Output, error) {
	entries, err := family.For(class.Values)
	var blob []byte
	if err == nil {
		blob, err = bundle.Encode(entries)
	}
	switch {
	case err != nil && len(class.Clusters) > 0:
		return render.Output{}, fmt.Errorf("for cluster %s: %w", decide.Names(class.Clusters), err)
	case err != nil:
		return render.Output{}, err
	}
	digest, err := c.content.Push(ctx, repository, bundle.MediaType, blob)
	if err != nil {
		return render.Output{}, &storeError{err}
	}
	return render.Output{Digest: digest, Size: int64(len(blob)), Objects: int32(len(entries))}, nil
}

// settle makes a Release of what is new in a rendering that has ended, or says why there is none.
func (c *Controller) settle(ctx context.Context, v *visit, r *rendering) error {
	v.memo.unread = r.unread
	if r.unread != nil {
		c.mirrorFailed(v, r.unread)
		return nil
	}
	if stored := (*storeError)(nil); errors.As(r.err, &stored) {
		v.storeFailed(r.err)
		return nil
	}
	same := v.sameValues()
	if r.record != nil || r.err == nil {
		v.memo.fed = fed{source: released(r.pkg.Spec.Source), commit: r.commit, values: r.valued.digest, record: r.record}
	}
	if classesKey(r.variables, r.selected) != classesKey(r.variables, v.selected()) {
		v.again(0) // the clusters are others meanwhile
	}
	err := r.err
	if err == nil {
		err = v.team.TooLarge(v.pkg.Namespace, r.variants)
	}
	if err != nil {
		v.renderFailed(r, err)
		return nil
	}
	spec := v1alpha1.ReleaseSpec{
		PackageRef:  v1alpha1.LocalReference{Name: v.pkg.Name},
		Source:      released(r.pkg.Spec.Source),
		Revision:    r.commit,
		Inputs:      r.inputs,
		RemoteBases: r.valued.pins,
		Repository:  v.key.Repository(),
		Variables:   r.variables,
		LeftOut:     r.leftOut,
		Variants:    r.variants,
	}
	v.memo.files = r.files
	condition := renderedCondition(&spec, r.missing, v.memo.files)
	v.set(condition)
	if v.has(&spec, same) || len(spec.Variants) == 0 { // of none, every object waits for a cluster to say what its variables are
		v.remember(r, condition)
		return nil
	}
	c.compare(ctx, v, &spec)
	admitted, err := c.release(ctx, v, spec)
	if err == nil && !admitted {
		v.remember(r, condition)
	}
	return err
}

// has says whether the current Release has all of what was rendered. Where it is of the very same, what only it has is put with that:
// of clusters that were selected before. sameValues says whether it is of the same values of a chart.
func (v *visit) has(spec *v1alpha1.ReleaseSpec, sameValues bool) bool {
	current := v.seen.Release
	if current == nil || !SameSource(current.Spec.Source, spec.Source) || !slices.Equal(current.Spec.Variables, spec.Variables) {
		return false
	}
	if current.Spec.Revision == spec.Revision && current.Spec.Inputs == spec.Inputs && slices.Equal(current.Spec.RemoteBases, spec.RemoteBases) && sameValues {
		spec.Variants = decide.Widen(spec.Variants, current.Spec.Variants)
	}
	if !decide.HasAll(&current.Spec, spec.Variants) {
		return false
	}
	v.memo.verified, v.memo.unplanned, v.gives = current.Name, nil, true
	return true
}
