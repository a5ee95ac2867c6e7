package delivery

import (
	"fmt"
	"io/fs"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/delivery/source"
)

// fed is what the last rendering that worked was made of. A repository that many Packages share has a new commit all the
// time, and most of them have nothing to do with most Packages.
type fed struct {
	source v1alpha1.Source
	commit string
	values string         // the digest of those of a chart
	record *source.Record // of what was read; nil when that is not known
	same   string         // another commit that has the same to read
}

// unchanged returns the commit that was rendered last instead of a newer one, when the newer one has everything that the
// rendering read, or looked for and did not find, just the same.
func (c *Controller) unchanged(v *visit, commit string) string {
	last := &v.memo.fed
	if last.record == nil || last.commit == commit || last.values != v.memo.valued.digest || !SameSource(last.source, v.pkg.Spec.Source) {
		return commit
	}
	if last.same == commit {
		return last.commit
	}
	if _, ok := placeOf(v.pkg.Namespace, v.pkg.Spec.Source); !ok {
		return commit
	}
	files, _, err := c.files(v.pkg, commit, v.memo.valued.pins)
	if err != nil || !last.record.Same(files) {
		return commit // the rendering finds out what is wrong, or new
	}
	last.same = commit
	return last.commit
}

// recordOf is what a rendering read. The trace itself holds all of that.
func recordOf(trace *source.Trace) *source.Record {
	if trace == nil {
		return nil
	}
	record, _ := trace.Record()
	return record
}

// open finds what a revision of the source holds, and returns what renders it, and what that has read when it has.
func (c *Controller) open(pkg *v1alpha1.Package, commit string, with valued) (render.Maker, *source.Trace, error) {
	if inline := pkg.Spec.Source.Inline; inline != nil {
		return render.Inline(manifests(inline)), nil, nil
	}
	files, remote, err := c.files(pkg, commit, with.pins)
	if err != nil {
		return nil, nil, err
	}
	trace := source.NewTrace(files)
	makes, err := makerOf(c.renders, trace, pkg, made{with.options, remote})
	return makes, trace, err
}

// files are those of a revision of the source, and of remote bases at their commits.
func (c *Controller) files(pkg *v1alpha1.Package, commit string, pins []v1alpha1.ReleasedBase) (fs.FS, []render.Base, error) {
	at, _ := placeOf(pkg.Namespace, pkg.Spec.Source)
	files, err := c.fetcher.Tree(at.ref, commit, at.folder)
	if err != nil {
		return nil, nil, err
	}
	return beside(files, basesOf(pkg), pins, func(ref source.Ref, commit string) (fs.FS, error) { return c.fetcher.Tree(ref, commit, ".") })
}

// renderer renders folders. *render.Cache and *render.Workers are some.
type renderer interface {
	Folder(files fs.FS, folder string, remote ...render.Base) render.Maker
	Chart(files fs.FS, folder string, options render.ChartOptions) render.Maker
}

// made is what a folder is made of beside its files: as a chart, or as a kustomization.
type made struct {
	chart  render.ChartOptions
	remote []render.Base
}

// makerOf is what renders the folder of a Package, be it a chart or not.
func makerOf(by renderer, files fs.FS, pkg *v1alpha1.Package, of made) (render.Maker, error) {
	folder := FolderOf(pkg)
	isChart, err := render.IsChart(files, folder)
	switch {
	case err != nil:
		return nil, err
	case isChart:
		return by.Chart(files, folder, of.chart), nil
	case pkg.Spec.Helm != nil:
		return func(render.Choice) (*render.Rendered, error) {
			return nil, fmt.Errorf("spec.helm is given, and %q is no chart: it has no Chart.yaml, or a kustomization beside it", folder)
		}, nil
	}
	return by.Folder(files, folder, of.remote...), nil
}

// sameValues says whether the last rendering was made with the values that there are now. A hub that started lately does not
// know, and renders once more.
func (v *visit) sameValues() bool { return v.memo.valued.digest == v.memo.fed.values }

func manifests(inline *v1alpha1.InlineSource) [][]byte {
	manifests := make([][]byte, len(inline.Objects))
	for i, object := range inline.Objects {
		manifests[i] = object.Raw
	}
	return manifests
}

func folderOf(at place) string {
	return strings.TrimPrefix(strings.TrimSuffix("./"+at.folder, "/"), "./")
}
