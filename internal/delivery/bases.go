package delivery

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/git"
)

// base is a remote base of a Package.
type base struct {
	v1alpha1.RemoteBase
	ref   source.Ref
	field string // where the Package lists it
}

// basesOf are the remote bases that a Package lists.
func basesOf(pkg *v1alpha1.Package) []base {
	if pkg.Spec.Kustomize == nil {
		return nil
	}
	listed := make([]base, len(pkg.Spec.Kustomize.RemoteBases))
	for i, remote := range pkg.Spec.Kustomize.RemoteBases {
		ref := source.Ref{Kind: source.Git, URL: remote.URL, Name: remote.Ref, Secret: secretOf(pkg.Namespace, remote.SecretRef)}
		if !git.IsCommit(remote.Ref) {
			ref.Name = "refs/tags/" + remote.Ref // and no branch of that name
		}
		listed[i] = base{remote, ref, fmt.Sprintf("spec.kustomize.remoteBases[%d]", i)}
	}
	return listed
}

// refsOf are all the sources of a Package: its own, and its remote bases.
func refsOf(pkg *v1alpha1.Package) []source.Ref {
	at, ok := placeOf(pkg.Namespace, pkg.Spec.Source)
	if !ok {
		return nil
	}
	refs := []source.Ref{at.ref}
	for _, b := range basesOf(pkg) {
		refs = append(refs, b.ref)
	}
	return refs
}

// fails says of which base an error is. Fields that errors of sources name are those of the base.
func (b base) fails(err error) error {
	text := strings.ReplaceAll(err.Error(), "spec.source.git.", b.field+".")
	reason := v1alpha1.ReasonFetchFailed
	if known, ok := errors.AsType[*source.Error](err); ok {
		reason = known.Reason
	}
	return &source.Error{Reason: reason, Err: fmt.Errorf("%s: %s", b.field, text)}
}

// pin is the base at a commit.
func (b base) pin(commit string) v1alpha1.ReleasedBase {
	return v1alpha1.ReleasedBase{URL: source.Redact(b.URL), Ref: b.Ref, Commit: commit}
}

// pinsOf are the commits that a Release was rendered with, in the order of the Package's bases; nil when it was with others.
func pinsOf(release *v1alpha1.Release, listed []base) []v1alpha1.ReleasedBase {
	if release == nil {
		return nil
	}
	var pins []v1alpha1.ReleasedBase
	for _, b := range listed {
		for _, pin := range release.Spec.RemoteBases {
			if pin == b.pin(pin.Commit) {
				pins = append(pins, pin)
				break
			}
		}
	}
	if len(pins) != len(listed) {
		return nil
	}
	return pins
}

var notInAName = regexp.MustCompile(`[^a-zA-Z0-9._-]+`)

// folder is where the files of a base are among those of the source.
func (b base) folder(commit string) string {
	name := notInAName.ReplaceAllString(strings.TrimSuffix(path.Base(strings.TrimRight(b.URL, "/")), ".git"), "-")
	return path.Join(render.BasesFolder, name+"-"+commit)
}

// beside are the files of a source with those of its bases, each at its pin, and what rendering has to know of these.
func beside(files fs.FS, listed []base, pins []v1alpha1.ReleasedBase, open func(source.Ref, string) (fs.FS, error)) (fs.FS, []render.Base, error) {
	if len(listed) == 0 {
		return files, nil, nil
	}
	at := map[string]fs.FS{}
	remote := make([]render.Base, len(listed))
	for i, b := range listed {
		remote[i] = render.Base{URL: b.URL, Ref: b.Ref, Folder: b.folder(pins[i].Commit)}
		var err error
		if at[remote[i].Folder], err = open(b.ref, pins[i].Commit); err != nil {
			return nil, nil, b.fails(err)
		}
	}
	mounted, err := source.Mount(files, at)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, nil, err
	}
	if err != nil { // and another fetch makes it no better
		return nil, nil, &source.Error{Reason: v1alpha1.ReasonFolderTaken, Err: fmt.Errorf("the source has a folder %s of its own, where spec.kustomize.remoteBases would be: rename it", render.BasesFolder)}
	}
	return mounted, remote, nil
}
