package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// format is how a kind of server tells of a push.
type format struct {
	// verify says whether the body is from who has the token.
	verify func(header http.Header, body, token []byte) bool
	// parse returns the addresses of the repositories that changed; none when it is no push.
	parse func(header http.Header, body []byte) ([]string, error)
}

// formats by the value of the label.
var formats = map[string]format{
	"github":    {verify: signed("X-Hub-Signature-256", "sha256="), parse: parseGitHub},
	"gitea":     {verify: signed("X-Gitea-Signature", ""), parse: parseGitea},
	"bitbucket": {verify: signed("X-Hub-Signature", "sha256="), parse: parseBitbucket},
	"gitlab":    {verify: carried("X-Gitlab-Token"), parse: parseGitLab},
	"registry":  {verify: carried("Authorization"), parse: parseRegistry},
}

// signed is a header with the HMAC-SHA256 of the body in hex, after a prefix.
func signed(name, prefix string) func(http.Header, []byte, []byte) bool {
	return func(header http.Header, body, token []byte) bool {
		mac := hmac.New(sha256.New, token)
		mac.Write(body)
		want := prefix + hex.EncodeToString(mac.Sum(nil))
		return hmac.Equal([]byte(header.Get(name)), []byte(want))
	}
}

// carried is a header with the token itself. Hashed, tokens of every length compare in the same time.
func carried(name string) func(http.Header, []byte, []byte) bool {
	return func(header http.Header, _, token []byte) bool {
		got, want := sha256.Sum256([]byte(strings.TrimPrefix(header.Get(name), "Bearer "))), sha256.Sum256(bytes.TrimSpace(token))
		return subtle.ConstantTimeCompare(got[:], want[:]) == 1
	}
}

var errBody = errors.New("the body is not the JSON that this kind of server sends: compare the label umbel.dev/webhook of the receiver with the server")

// repository as GitHub and Gitea name it.
type repository struct {
	CloneURL string `json:"clone_url"`
	SSHURL   string `json:"ssh_url"`
	HTMLURL  string `json:"html_url"`
	GitURL   string `json:"git_url"`
}

func (r repository) addresses() []string { return given(r.CloneURL, r.SSHURL, r.HTMLURL, r.GitURL) }

// given are the texts that are not empty.
func given(texts ...string) []string {
	var found []string
	for _, text := range texts {
		if text != "" {
			found = append(found, text)
		}
	}
	return found
}

func parseGitHub(header http.Header, body []byte) ([]string, error) {
	event := header.Get("X-GitHub-Event")
	if event != "push" && event != "create" && event != "delete" && event != "registry_package" && event != "package" {
		return nil, nil
	}
	if strings.HasPrefix(header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, errBody
		}
		body = []byte(form.Get("payload"))
	}
	var said struct {
		Repository repository `json:"repository"`
		Registry   published  `json:"registry_package"`
		Package    published  `json:"package"`
	}
	if json.Unmarshal(body, &said) != nil {
		return nil, errBody
	}
	if event == "package" || event == "registry_package" {
		return given(said.Registry.address(), said.Package.address()), nil
	}
	return needed(said.Repository.addresses())
}

// published is a package of a registry, as GitHub names it.
type published struct {
	Version struct {
		URL string `json:"package_url"`
	} `json:"package_version"`
}

func (p published) address() string { return untagged(p.Version.URL) }

func parseGitea(header http.Header, body []byte) ([]string, error) {
	if event := header.Get("X-Gitea-Event"); event != "push" && event != "create" && event != "delete" {
		return nil, nil
	}
	var said struct {
		Repository repository `json:"repository"`
	}
	if json.Unmarshal(body, &said) != nil {
		return nil, errBody
	}
	return needed(said.Repository.addresses())
}

func parseGitLab(header http.Header, body []byte) ([]string, error) {
	var said struct {
		Event   string `json:"event_name"`
		Project struct {
			HTTP string `json:"git_http_url"`
			SSH  string `json:"git_ssh_url"`
			Web  string `json:"web_url"`
		} `json:"project"`
	}
	if json.Unmarshal(body, &said) != nil {
		return nil, errBody
	}
	switch header.Get("X-Gitlab-Event") {
	case "Push Hook", "Tag Push Hook":
	case "System Hook":
		if said.Event != "push" && said.Event != "tag_push" && said.Event != "repository_update" {
			return nil, nil
		}
	default:
		return nil, nil
	}
	return needed(given(said.Project.HTTP, said.Project.SSH, said.Project.Web))
}

// parseBitbucket reads what the cloud sends, and what a server of one's own does.
func parseBitbucket(header http.Header, body []byte) ([]string, error) {
	if event := header.Get("X-Event-Key"); event != "repo:push" && event != "repo:refs_changed" {
		return nil, nil
	}
	type link struct {
		Href string `json:"href"`
	}
	var said struct {
		Repository struct {
			Links struct {
				HTML  link   `json:"html"`
				Clone []link `json:"clone"`
			} `json:"links"`
		} `json:"repository"`
	}
	if json.Unmarshal(body, &said) != nil {
		return nil, errBody
	}
	addresses := given(said.Repository.Links.HTML.Href)
	for _, clone := range said.Repository.Links.Clone {
		addresses = append(addresses, given(clone.Href)...)
	}
	return needed(addresses)
}

// parseRegistry reads the notifications of distribution, which many registries send, and Harbor's.
func parseRegistry(_ http.Header, body []byte) ([]string, error) {
	var said struct {
		Events []struct {
			Action string `json:"action"`
			Target struct {
				Repository string `json:"repository"`
			} `json:"target"`
			Request struct {
				Host string `json:"host"`
			} `json:"request"`
		} `json:"events"`
		Type  string `json:"type"`
		Event struct {
			Resources []struct {
				URL string `json:"resource_url"`
			} `json:"resources"`
		} `json:"event_data"`
	}
	if json.Unmarshal(body, &said) != nil {
		return nil, errBody
	}
	var addresses []string
	for _, event := range said.Events {
		if event.Action == "push" && event.Target.Repository != "" && event.Request.Host != "" {
			addresses = append(addresses, "oci://"+event.Request.Host+"/"+event.Target.Repository)
		}
	}
	if said.Type == "PUSH_ARTIFACT" {
		for _, resource := range said.Event.Resources {
			addresses = append(addresses, given(untagged(resource.URL))...)
		}
	}
	return addresses, nil
}

// untagged makes an address of the name of an image, without its tag or digest.
func untagged(name string) string {
	name = strings.TrimSpace(name)
	if name == "" {
		return ""
	}
	name, _, _ = strings.Cut(name, "@")
	if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
		name = name[:colon]
	}
	if !strings.Contains(name, "://") {
		name = "oci://" + name
	}
	return name
}

// needed says that a push has to name a repository.
func needed(addresses []string) ([]string, error) {
	if len(addresses) == 0 {
		return nil, errBody
	}
	return addresses, nil
}

// Key is the same for addresses of the same repository, whatever the protocol, the user, the port that is the protocol's own,
// and .git at the end. It tells where to look, and nothing of who may.
func Key(address string) string {
	if !strings.Contains(address, "://") {
		if user, rest, found := strings.Cut(address, "@"); found && !strings.Contains(user, "/") {
			address = rest
		}
		if host, path, found := strings.Cut(address, ":"); found { // as in git@HOST:PATH
			address = host + "/" + path
		}
		address = "ssh://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	host := strings.ToLower(u.Hostname())
	if port := u.Port(); port != "" && port != ownPort[u.Scheme] {
		host += ":" + port
	}
	path := strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	if host == "" && u.Scheme != "file" || path == "" && u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	return host + "/" + strings.TrimRight(path, "/")
}

var ownPort = map[string]string{"https": "443", "http": "80", "ssh": "22", "oci": "443", "oci+http": "80"}
