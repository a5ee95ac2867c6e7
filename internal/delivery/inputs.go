package delivery

import (
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
	trace  *source.Trace // nil when nothing was read
	same   string        // another commit that has the same to read
}

// unchanged returns the commit that was rendered last instead of a newer one, when the newer one has everything that the
// rendering read, or looked for and did not find, just the same.
func (c *Controller) unchanged(v *visit, commit string) string {
	last := &v.memo.fed
	if last.trace == nil || last.commit == commit || !SameSource(last.source, v.pkg.Spec.Source) {
		return commit
	}
	if last.same == commit {
		return last.commit
	}
	at, ok := placeOf(v.pkg.Namespace, v.pkg.Spec.Source)
	if !ok {
		return commit
	}
	files, err := c.fetcher.Tree(at.ref, commit, at.folder)
	if err != nil || !last.trace.Same(files) {
		return commit // the rendering finds out what is wrong, or new
	}
	last.same = commit
	return last.commit
}

// open finds what a revision of the source holds, and returns what renders it, and what that has read when it has.
func (c *Controller) open(pkg *v1alpha1.Package, commit string) (render.Maker, *source.Trace, error) {
	if inline := pkg.Spec.Source.Inline; inline != nil {
		return render.Inline(manifests(inline)), nil, nil
	}
	at, _ := placeOf(pkg.Namespace, pkg.Spec.Source)
	files, err := c.fetcher.Tree(at.ref, commit, at.folder)
	if err != nil {
		return nil, nil, err
	}
	trace := source.NewTrace(files)
	return c.renders.Folder(trace, folderOf(at)), trace, nil
}

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
