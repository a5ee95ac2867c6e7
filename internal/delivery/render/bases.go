package render

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"

	"umbel.dev/umbel/internal/delivery/source"
)

// BasesFolder is where the remote bases of a source lie in its files, each in a folder of its own.
const BasesFolder = ".remote-bases"

// Base is a Git repository beside the source that its kustomizations may refer to.
type Base struct {
	// URL and Ref as the Package lists them.
	URL, Ref string
	// Folder of its files, below BasesFolder. It names the commit, so that all that is kept of a rendering does.
	Folder string
}

// bases are those of a source.
type bases []Base

// baseFields are the fields of a kustomization in which it names folders.
var baseFields = []string{"bases", "components", "generators", "resources", "transformers", "validators"}

// resolve returns what stands for an entry that a kustomization in a folder has in one of these fields: for a folder of a base that is listed
// the way to it, and the entry itself for what is no address. where names file and field, for errors.
func (b bases) resolve(folder, where, entry string) (string, error) {
	if !isRemote(entry) {
		return entry, b.stays(folder, where, entry)
	}
	want := addressOf(entry)
	if want.key == "" {
		return "", fmt.Errorf("%s: %q is not in this repository, and no folder of a Git repository: nothing else is fetched, commit a copy of it", where, shown(entry))
	}
	var listed []Base // of the same repository
	for _, base := range b {
		if _, is := want.inside(base); is && (want.ref == "" || want.ref == base.Ref) {
			listed = append(listed, base)
		}
	}
	switch {
	case len(listed) == 0:
		return "", b.unlisted(where, entry, want)
	case len(listed) > 1:
		return "", fmt.Errorf("%s: %q says no ref, and spec.kustomize.remoteBases lists several of this repository: add ?ref= with one of them", where, shown(entry))
	}
	inside, _ := want.inside(listed[0])
	return relative(folder, path.Join(listed[0].Folder, inside)), nil
}

// unlisted says of an address that the Package does not list it, and what to add.
func (b bases) unlisted(where, entry string, want address) error {
	for _, base := range b {
		if _, is := want.inside(base); is {
			return fmt.Errorf("%s: %q is listed in spec.kustomize.remoteBases at %s, and not at %s: have both say the same, or add to the Package: %s",
				where, shown(entry), base.Ref, want.ref, toAdd(shown(base.URL), want.ref))
		}
	}
	return fmt.Errorf("%s: %q is not in this repository, and no remote base that the Package lists: commit a copy of it, or add to the Package: %s",
		where, shown(entry), toAdd(want.url, want.ref))
}

// stays refuses an entry of a kustomization of a base that leads out of its repository, to the source or another base.
func (b bases) stays(folder, where, entry string) error {
	for _, base := range b {
		if below(base.Folder, folder) && !below(base.Folder, path.Join(folder, entry)) {
			return fmt.Errorf("%s: %q leaves its repository, %s", where, entry, shown(base.URL))
		}
	}
	return nil
}

// below says whether a path is a folder, or in it.
func below(folder, name string) bool {
	return name == folder || strings.HasPrefix(name, folder+"/")
}

// relative is the way from one folder to another, neither of which is in the other.
func relative(from, to string) string {
	up := ""
	if from != "." {
		up = strings.Repeat("../", strings.Count(from, "/")+1)
	}
	return up + to
}

// address is what an entry of a kustomization says, as kustomize reads it: a repository, a folder in it, and what it is at.
type address struct {
	// key names the repository, and perhaps a folder in it, by host and path, whatever the protocol; empty for what is no address.
	key string
	// url of the repository alone, as far as the entry says where it ends, without what is secret.
	url string
	// ref is empty when the entry says none.
	ref string
}

var (
	scheme     = regexp.MustCompile(`(?i)^(https?|ssh|file)://`)
	remoteUser = regexp.MustCompile(`^[^/@]+@`)
)

// addressOf reads an address as kustomize does (api/internal/git: NewRepoSpecFromURL).
func addressOf(entry string) address {
	text, query, _ := strings.Cut(strings.TrimSpace(entry), "?")
	if rest, is := cutFold(text, "git::"); is {
		text = rest
	}
	var a address
	if values, err := url.ParseQuery(query); err == nil {
		if a.ref = values.Get("ref"); a.ref == "" {
			a.ref = values.Get("version")
		}
	}
	kind := scheme.FindString(text)
	rest := text[len(kind):]
	local := strings.EqualFold(kind, "file://")
	user := ""
	if !local {
		user = remoteUser.FindString(rest)
		rest = rest[len(user):]
		if name, _, has := strings.Cut(user, ":"); has {
			user = name + "@" // a password is told nobody
		}
	}
	if kind == "" { // USER@HOST:PATH, or github.com
		if host, in, found := strings.Cut(rest, ":"); found && !strings.Contains(host, "/") {
			rest = host + "/" + in
		}
	}
	host, in, found := strings.Cut(rest, "/")
	if !found || host == "" && !local || kind == "" && user == "" && !strings.EqualFold(host, "github.com") {
		return address{}
	}
	if strings.HasPrefix(strings.ToLower(kind), "http") && isManifest(in) {
		return address{} // a file on the web
	}
	a.key = clean(host, in)
	switch repository := repositoryIn(in, local); {
	case kind == "" && user != "":
		a.url = user + host + ":" + repository
	case kind == "":
		a.url = "https://" + host + "/" + repository
	case strings.EqualFold(kind, "ssh://"):
		a.url = "ssh://" + user + host + "/" + repository
	default:
		a.url = strings.ToLower(kind) + host + "/" + repository
	}
	return a
}

// repositoryIn is the part of a path that is the repository: up to //, to .git, or to the folder after _git, or its first two folders. Of one on
// the disk it is all.
func repositoryIn(in string, local bool) string {
	if at := strings.Index(in, "_git/"); at >= 0 {
		name, _, _ := strings.Cut(in[at+len("_git/"):], "/")
		return in[:at] + "_git/" + name
	}
	if at := strings.Index(in, "//"); at >= 0 {
		return in[:at]
	}
	if at := strings.Index(in+"/", ".git/"); at >= 0 {
		return in[:at] + ".git"
	}
	if parts := strings.SplitN(in, "/", 3); len(parts) == 3 && !local {
		return parts[0] + "/" + parts[1]
	}
	return strings.TrimSuffix(in, "/")
}

// clean is one name for all ways to write a host and a path on it.
func clean(host, in string) string {
	in = strings.ReplaceAll(in+"/", ".git/", "/")
	return strings.ToLower(host) + strings.TrimSuffix(path.Clean("/"+in), "/")
}

// inside says which folder of a base it is; false when it is of another repository.
func (a address) inside(base Base) (string, bool) {
	repository := addressOf(base.URL).key
	if repository == "" || !below(repository, a.key) {
		return "", false
	}
	return strings.TrimPrefix(strings.TrimPrefix(a.key, repository), "/"), true
}

// toAdd is what to add to a Package.
func toAdd(address, ref string) string {
	if ref == "" {
		ref = "COMMIT_OR_TAG"
	}
	return fmt.Sprintf("spec: {kustomize: {remoteBases: [{url: %q, ref: %q}]}}", address, ref)
}

// shown is an address without a password.
func shown(address string) string {
	rest, forced := cutFold(strings.TrimSpace(address), "git::")
	if strings.Contains(rest, "://") {
		rest = source.Redact(rest)
	}
	if forced {
		return "git::" + rest
	}
	return rest
}

func cutFold(text, prefix string) (string, bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return text, false
	}
	return text[len(prefix):], true
}
