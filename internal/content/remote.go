package content

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// Remote is a registry elsewhere, which several replicas of a hub share. As an http.Handler it answers reads below /v2/,
// so that members get content through their sessions without an account there.
type Remote struct {
	store *Store
	log   *slog.Logger
}

// OpenRemote returns the registry at base, such as https://registry.example/fleet: what is kept there is kept below the
// path of base. Accounts are those of Docker's configuration file (DOCKER_CONFIG, or ~/.docker/config.json), as
// `docker login` and image pull secrets write it. Nothing is dialled yet.
func OpenRemote(base string, log *slog.Logger) (*Remote, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("reading the registry's address: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("reading the registry's address %q: it has to be https://HOST/PATH (or http://), accounts are in Docker's configuration file", u.Redacted())
	}
	accounts, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the accounts of the registry from Docker's configuration: %w", err)
	}
	client := &auth.Client{Client: retry.DefaultClient, Cache: auth.NewCache(), Credential: credentials.Credential(accounts)}
	store := &Store{host: u.Host, plainHTTP: u.Scheme == "http", prefix: strings.Trim(u.Path, "/"), client: client}
	if store.prefix != "" {
		ref := registry.Reference{Registry: u.Host, Repository: store.prefix}
		if err := ref.ValidateRepository(); err != nil {
			return nil, fmt.Errorf("reading the registry's address %q: %w", base, err)
		}
	}
	return &Remote{store, log}, nil
}

// Store returns the client of the registry.
func (r *Remote) Store() *Store { return r.store }

// Close implements io.Closer.
func (r *Remote) Close() error { return nil }

// passedOn are the headers of an answer that say what its body is.
var passedOn = []string{
	"Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Docker-Content-Digest", "Docker-Distribution-Api-Version", "Etag",
}

// ServeHTTP answers GET and HEAD below /v2/.
func (r *Remote) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	rest, found := strings.CutPrefix(req.URL.Path, "/v2/")
	switch {
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		http.Error(w, "this registry is for reading here", http.StatusMethodNotAllowed)
		return
	case !found || rest == "":
		w.WriteHeader(http.StatusOK)
		return
	}
	ask, err := http.NewRequestWithContext(req.Context(), req.Method, r.store.base()+"/v2/"+r.store.path(rest), nil)
	if err != nil {
		http.Error(w, "this is not the path of a registry", http.StatusBadRequest)
		return
	}
	for _, name := range []string{"Accept", "Range"} {
		ask.Header[name] = req.Header[name]
	}
	answer, err := r.store.client.Do(ask)
	if err != nil {
		r.log.Error("reading from the registry", "registry", r.store.host, "path", req.URL.Path, "error", err)
		http.Error(w, "the hub cannot reach its registry", http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	for _, name := range passedOn {
		if values := answer.Header[name]; len(values) > 0 {
			w.Header()[name] = values
		}
	}
	if answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden {
		r.log.Error("the registry refuses the hub", "registry", r.store.host, "path", req.URL.Path, "status", answer.Status)
		answer.StatusCode = http.StatusBadGateway // it is the hub's account, not the member's
	}
	w.WriteHeader(answer.StatusCode)
	if _, err := io.Copy(w, answer.Body); err != nil {
		r.log.Debug("content was not sent whole", "path", req.URL.Path, "error", err)
	}
}
