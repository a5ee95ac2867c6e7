package render

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/delivery/source"
)

const (
	webAt  = BasesFolder + "/web-0123456789012345678901234567890123456789"
	toolAt = BasesFolder + "/tools-abcdefabcdefabcdefabcdefabcdefabcdefabcd"
)

// based is a source with two remote bases.
func based(t *testing.T, files map[string]string) (fs.FS, []Base) {
	t.Helper()
	mounted, err := source.Mount(tree(files), map[string]fs.FS{
		webAt: tree(map[string]string{
			"kustomization.yaml":          "resources: [web]\n",
			"web/kustomization.yaml":      "namePrefix: web-\nresources: [a.yaml]\n",
			"web/a.yaml":                  config("a"),
			"up/kustomization.yaml":       "resources: [../web]\n",
			"both/kustomization.yaml":     "resources: [../web, 'ssh://git@git.example.com/infra/tools.git//tool?ref=v2']\n",
			"unlisted/kustomization.yaml": "resources: ['https://git.example.com/else/where//x?ref=v3']\n",
			"out/kustomization.yaml":      "resources: [../../../app]\n",
			"capitals/kustomization.yaml": "Resources: [../../../app]\n",
			"other/kustomization.yaml":    "components: [../../tools-abcdefabcdefabcdefabcdefabcdefabcdefabcd/tool]\n",
			"part/kustomization.yaml":     "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\nnameSuffix: -part\n",
			"link/kustomization.yaml":     "resources: [a.yaml]\n",
			"link/a.yaml":                 "-> ../../../app/app.yaml",
		}),
		toolAt: tree(map[string]string{"tool/kustomization.yaml": "resources: [b.yaml]\n", "tool/b.yaml": config("b")}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return mounted, []Base{
		{URL: "https://git.example.com/team/web.git", Ref: "v1", Folder: webAt},
		{URL: "git@git.example.com:infra/tools", Ref: "v2", Folder: toolAt},
	}
}

// TestRemoteBases: what is listed is found, by whichever address kustomize knows it, here and in a process of its own; anything else is refused
// with what to add to the Package.
func TestRemoteBases(t *testing.T) {
	web := webAt + "/web/a.yaml ConfigMap web-a"
	tool := toolAt + "/tool/b.yaml ConfigMap b"
	confined := workers(t, testLimits)
	for _, tc := range []struct {
		reason, kustomization string
		component             string
		want                  []string
		err                   string
	}{
		{reason: "as it is listed", kustomization: "resources: ['https://git.example.com/team/web.git//web?ref=v1']", want: []string{web}},
		{reason: "the root of it", kustomization: "resources: ['https://git.example.com/team/web?ref=v1']", want: []string{web}},
		{reason: "without a mark between", kustomization: "resources: ['https://git.example.com/team/web/web?ref=v1']", want: []string{web}},
		{reason: "by .git", kustomization: "resources: ['https://git.example.com/team/web.git/web?ref=v1']", want: []string{web}},
		{reason: "by another protocol", kustomization: "resources: ['ssh://git@git.example.com/team/web//up/?ref=v1']", want: []string{web}},
		{reason: "as scp has it", kustomization: "resources: ['git@git.example.com:team/web.git//web?ref=v1']", want: []string{web}},
		{reason: "by force, with more in the query", kustomization: "resources: ['git::https://git.example.com/team/web//web?version=v1&submodules=0&timeout=90']", want: []string{web}},
		{reason: "the host in capitals", kustomization: "resources: ['https://GIT.example.com/team/web//web?ref=v1']", want: []string{web}},
		{reason: "no ref takes the one that is listed", kustomization: "resources: ['https://git.example.com/team/web//web']", want: []string{web}},
		{reason: "bases, as it was once called", kustomization: "bases: ['https://git.example.com/team/web//web?ref=v1']", want: []string{web}},
		{reason: "a base in a base", kustomization: "resources: ['https://git.example.com/team/web//both?ref=v1']", want: []string{web, tool}},
		{reason: "a component", kustomization: "resources: [app.yaml]\ncomponents: ['https://git.example.com/team/web//part?ref=v1']", want: []string{"app/app.yaml ConfigMap app-part"}},
		{reason: "a component of a variant", kustomization: "resources: [app.yaml]", component: "https://git.example.com/team/web//part?ref=v1", want: []string{"app/app.yaml ConfigMap app-part"}},

		{reason: "a repository that is not listed", kustomization: "resources: [app.yaml, 'https://git.example.com/else/where.git//x?ref=v3']",
			err: `app/kustomization.yaml: resources[1]: "https://git.example.com/else/where.git//x?ref=v3" is not in this repository, and no remote base that the Package lists: ` +
				`commit a copy of it, or add to the Package: spec: {kustomize: {remoteBases: [{url: "https://git.example.com/else/where.git", ref: "v3"}]}}`},
		{reason: "one whose name begins like a listed one", kustomization: "resources: ['https://git.example.com/team/webs//web?ref=v1']", err: `{url: "https://git.example.com/team/webs", ref: "v1"}`},
		{reason: "GitHub in short", kustomization: "resources: ['github.com/org/repo/deploy/base']", err: `add to the Package: spec: {kustomize: {remoteBases: [{url: "https://github.com/org/repo", ref: "COMMIT_OR_TAG"}]}}`},
		{reason: "ssh", kustomization: "resources: ['git@github.com:org/repo.git//x?ref=v1']", err: `[{url: "git@github.com:org/repo.git", ref: "v1"}]`},
		{reason: "Azure", kustomization: "resources: ['https://dev.azure.com/org/project/_git/repo/x?version=v1']", err: `[{url: "https://dev.azure.com/org/project/_git/repo", ref: "v1"}]`},
		{reason: "a password is told nobody", kustomization: "resources: ['https://ada:hunter2@git.example.com/else/where//x?ref=v3']", err: `"https://ada:xxxxx@git.example.com/else/where//x?ref=v3" is not in`},
		{reason: "nor one by force", kustomization: "resources: ['git::https://ada:hunter2@git.example.com/else/where//x?ref=v3']", err: `"git::https://ada:xxxxx@git.example.com/else/where//x?ref=v3" is not in`},
		{reason: "nor one of ssh", kustomization: "resources: ['ssh://ada:hunter2@git.example.com/else/where//x?ref=v3']", err: `{url: "ssh://ada@git.example.com/else/where", ref: "v3"}`},
		{reason: "a base of a base that is not listed", kustomization: "resources: ['https://git.example.com/team/web//unlisted?ref=v1']",
			err: webAt + `/unlisted/kustomization.yaml: resources[0]: "https://git.example.com/else/where//x?ref=v3" is not in this repository`},
		{reason: "another ref", kustomization: "resources: ['https://git.example.com/team/web.git//web?ref=main']",
			err: `is listed in spec.kustomize.remoteBases at v1, and not at main: have both say the same, or add to the Package: spec: {kustomize: {remoteBases: [{url: "https://git.example.com/team/web.git", ref: "main"}]}}`},
		{reason: "a folder that is not there", kustomization: "resources: ['https://git.example.com/team/web//nope?ref=v1']", err: webAt[len(BasesFolder)+1:] + "/nope"},
		{reason: "a file on the web", kustomization: "resources: ['https://git.example.com/team/web/raw/a.yaml']", err: `resources[0]: "https://git.example.com/team/web/raw/a.yaml" is not in this repository, and no folder of a Git repository`},
		{reason: "no address", kustomization: "resources: ['oci://git.example.com/team/web']", err: "no folder of a Git repository"},
		{reason: "a patch there", kustomization: "resources: [app.yaml]\npatches: [{path: 'https://git.example.com/team/web//web/a.yaml?ref=v1'}]", err: "patches[0].path[0]: "},
		{reason: "a component of a variant that is not listed", kustomization: "resources: [app.yaml]", component: "https://git.example.com/x/y?ref=v1", err: `spec.variants: kustomize.components: "https://git.example.com/x/y?ref=v1" is not in this repository`},
		{reason: "a base that reads the source", kustomization: "resources: ['https://git.example.com/team/web//out?ref=v1']", err: webAt + `/out/kustomization.yaml: resources[0]: "../../../app" leaves its repository, https://git.example.com/team/web.git`},
		{reason: "a base that reads the source, in capitals", kustomization: "resources: ['https://git.example.com/team/web//capitals?ref=v1']", err: webAt + `/capitals/kustomization.yaml: Resources: write it as resources`},
		{reason: "an address in capitals", kustomization: "resources: [app.yaml]\nconfigMapGenerator: [{name: a, Files: ['https://git.example.com/x']}]", err: `configMapGenerator[0].Files[0]: "https://git.example.com/x" is not in this repository`},
		{reason: "a base that reads another one", kustomization: "resources: ['https://git.example.com/team/web//other?ref=v1']", err: "leaves its repository"},
		{reason: "a link in a base", kustomization: "resources: ['https://git.example.com/team/web//link?ref=v1']", err: "a.yaml"},
		{reason: "a path that leaves the repository", kustomization: "resources: ['https://git.example.com/team/web//../../else/where?ref=v1']", err: "is not in this repository"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			files, listed := based(t, map[string]string{"app/kustomization.yaml": tc.kustomization + "\n", "app/app.yaml": config("app")})
			choice := Choice{}
			if tc.component != "" {
				choice.Components = []string{tc.component}
			}
			for where, makes := range map[string]Maker{"here": Folder(files, "app", listed...), "confined": newCache(t, confined).Folder(files, "app", listed...)} {
				rendered, err := makes(choice)
				if tc.err != "" {
					if err == nil || !strings.Contains(err.Error(), tc.err) {
						t.Errorf("%s: got  %v\nwant %q in it", where, err, tc.err)
					}
					if err != nil && strings.Contains(err.Error(), "hunter2") {
						t.Errorf("%s: a password in %v", where, err)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s: %v", where, err)
					continue
				}
				var got []string
				for _, o := range rendered.objects {
					got = append(got, o.place.file+" "+o.id.String())
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", where, diff)
				}
			}
		})
	}
}

// TestTwoRefsOfARemoteBase: the ref of an entry says which one, and without one nothing does.
func TestTwoRefsOfARemoteBase(t *testing.T) {
	mounted, err := source.Mount(tree(map[string]string{
		"one/kustomization.yaml": "resources: ['https://h/o/r//x?ref=v2']\n", "none/kustomization.yaml": "resources: ['https://h/o/r//x']\n",
	}), map[string]fs.FS{
		BasesFolder + "/1": tree(map[string]string{"x/kustomization.yaml": "resources: [a.yaml]\n", "x/a.yaml": config("one")}),
		BasesFolder + "/2": tree(map[string]string{"x/kustomization.yaml": "resources: [a.yaml]\n", "x/a.yaml": config("two")}),
	})
	if err != nil {
		t.Fatal(err)
	}
	listed := []Base{{URL: "https://h/o/r", Ref: "v1", Folder: BasesFolder + "/1"}, {URL: "https://h/o/r", Ref: "v2", Folder: BasesFolder + "/2"}}
	rendered, err := Folder(mounted, "one", listed...)(Choice{})
	if err != nil || rendered.objects[0].id.Name != "two" {
		t.Errorf("with a ref: %v, %v", rendered, err)
	}
	if _, err := Folder(mounted, "none", listed...)(Choice{}); err == nil || !strings.Contains(err.Error(), "says no ref") {
		t.Errorf("without a ref: %v", err)
	}
}

// TestAnotherCommitOfARemoteBaseIsRenderedAnew: the commits of bases are among what a result is kept by.
func TestAnotherCommitOfARemoteBaseIsRenderedAnew(t *testing.T) {
	cache := newCache(t, nil)
	render := func(commit, content string) *Rendered {
		t.Helper()
		at := BasesFolder + "/r-" + commit
		files, err := source.Mount(tree(map[string]string{"kustomization.yaml": "resources: ['https://h/o/r//x']\n"}), map[string]fs.FS{
			at: tree(map[string]string{"x/kustomization.yaml": "resources: [a.yaml]\n", "x/a.yaml": config(content)}),
		})
		if err != nil {
			t.Fatal(err)
		}
		rendered, err := cache.Folder(files, ".", Base{URL: "https://h/o/r", Ref: "v1", Folder: at})(Choice{})
		if err != nil {
			t.Fatal(err)
		}
		return rendered
	}
	first, again, moved := render("1", "a"), render("1", "a"), render("2", "b")
	if first.origin != again.origin || first.origin == moved.origin || moved.objects[0].id.Name != "b" {
		t.Errorf("origins %s, %s and %s of %v", first.origin, again.origin, moved.origin, moved.objects[0].id)
	}
	if counts := cache.Counts(); counts.Sources != 2 || counts.SourcesSaved != 1 {
		t.Errorf("rendered %d times and not %d times, want 2 and 1", counts.Sources, counts.SourcesSaved)
	}
}

// TestASourceWithAFolderForBases: a source may not stand in for a base.
func TestASourceWithAFolderForBases(t *testing.T) {
	_, err := source.Mount(tree(map[string]string{BasesFolder + "/x/a.yaml": config("a")}), map[string]fs.FS{webAt: tree(nil)})
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want %v", err, fs.ErrExist)
	}
}
