package content

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
)

// RegistryConfig is what an embedded registry needs.
type RegistryConfig struct {
	// Dir is the folder of the content. It is made when it is missing.
	Dir string
	// CollectEvery is how often blobs that no manifest refers to are dropped. The default is 15 minutes.
	CollectEvery time.Duration
	// CollectAfter is how old such a blob has to be. The default is an hour, far longer than a push takes.
	CollectAfter time.Duration
	// Log gets what the registry complains of. The default is to discard it.
	Log *slog.Logger
}

// Registry is an OCI registry over a folder. It serves everybody who reaches it: who may is decided in front of it.
type Registry struct {
	dir    string
	server *olareg.Server
	log    *slog.Logger
	// repositories holds a *sync.Mutex for each: the library reads some of a repository's state without its lock.
	repositories sync.Map
}

// NewRegistry opens the registry in a folder. Close it to stop its collection of garbage.
func NewRegistry(conf RegistryConfig) (*Registry, error) {
	dir, err := filepath.Abs(conf.Dir)
	if err != nil {
		return nil, fmt.Errorf("finding the registry's folder %q: %w", conf.Dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the registry's folder: %w", err)
	}
	log := conf.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	yes, no := true, false
	server := olareg.New(config.Config{
		Log: log,
		API: config.ConfigAPI{DeleteEnabled: &yes},
		Storage: config.ConfigStorage{
			StoreType: config.StoreDir,
			RootDir:   dir,
			GC: config.ConfigGC{
				Frequency:   conf.CollectEvery,
				GracePeriod: conf.CollectAfter,
				// A manifest stays until somebody deletes it, tagged or not.
				Untagged: &no,
				// Dropping a repository races with its first push, which has sent a blob and no manifest yet.
				EmptyRepo: &no,
			},
		},
	})
	return &Registry{dir: dir, server: server, log: log}, nil
}

// Close ends the collection of garbage and waits for requests under way. Requests after it fail.
func (r *Registry) Close() error {
	if err := r.server.Close(); err != nil {
		return fmt.Errorf("closing the registry in %s: %w", r.dir, err)
	}
	return nil
}

// repositoryName is what a repository may be called.
const repositoryName = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*`

var (
	blobPath       = regexp.MustCompile(`^/v2/(` + repositoryName + `)/blobs/sha256:([0-9a-f]{64})$`)
	repositoryPath = regexp.MustCompile(`^/v2/(` + repositoryName + `)/(?:blobs|manifests|referrers|tags)/`)
)

// ServeHTTP answers the paths below /v2/.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	reading := req.Method == http.MethodGet || req.Method == http.MethodHead
	if blob := blobPath.FindStringSubmatch(req.URL.Path); blob != nil && reading {
		r.serveBlob(w, req, blob[1], blob[2])
		return
	}
	if repository := repositoryPath.FindStringSubmatch(req.URL.Path); repository != nil {
		lock, _ := r.repositories.LoadOrStore(repository[1], &sync.Mutex{})
		lock.(*sync.Mutex).Lock()
		defer lock.(*sync.Mutex).Unlock()
	}
	if !reading {
		w = &durable{ResponseWriter: w, registry: r, request: req}
	}
	r.server.ServeHTTP(w, req)
}

// serveBlob sends a blob from its file. It takes no lock, so that a member on a slow line holds up nobody: a
// collection of garbage waits for requests that the library serves, and what comes after waits for the collection.
func (r *Registry) serveBlob(w http.ResponseWriter, req *http.Request, repository, encoded string) {
	f, err := os.Open(filepath.Join(r.dir, filepath.FromSlash(repository), "blobs", "sha256", encoded))
	if err != nil {
		code, word := http.StatusNotFound, "BLOB_UNKNOWN"
		if !errors.Is(err, fs.ErrNotExist) {
			code, word = http.StatusInternalServerError, "UNKNOWN"
			r.log.Error("reading a blob", "repository", repository, "digest", encoded, "error", err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"errors":[{"code":%q}]}`, word)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", "sha256:"+encoded)
	w.Header().Set("Etag", `"sha256:`+encoded+`"`)
	http.ServeContent(w, req, "", time.Time{}, f)
}

// ReadBlob reads content from the folder of a registry, whether one runs there or not, and verifies it. The error is
// fs.ErrNotExist when it is not there.
func ReadBlob(dir, repository, digest string) ([]byte, error) {
	path := blobPath.FindStringSubmatch("/v2/" + repository + "/blobs/" + digest)
	if path == nil {
		return nil, fmt.Errorf("%q in %q is no content: %w", digest, repository, fs.ErrNotExist)
	}
	raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path[1]), "blobs", "sha256", path[2]))
	if err == nil && Digest(raw) != digest {
		return nil, fmt.Errorf("%w: %s in %s", ErrCorrupt, digest, repository)
	}
	return raw, err
}

// durable puts what was uploaded on the disk before the client hears that it is there. The registry itself leaves it
// to the kernel when to write, which a power cut would show.
type durable struct {
	http.ResponseWriter
	registry *Registry
	request  *http.Request
	answered bool
}

func (d *durable) WriteHeader(code int) {
	if d.answered {
		return // a second header after a monolithic upload, which the registry sends by mistake
	}
	d.answered = true
	if code == http.StatusCreated {
		if err := d.registry.flush(d.request.URL.Path, d.ResponseWriter.Header()); err != nil {
			d.registry.log.Error("writing an upload to the disk", "path", d.request.URL.Path, "error", err)
			d.ResponseWriter.Header().Del("Location")
			code = http.StatusInternalServerError
		}
	}
	d.ResponseWriter.WriteHeader(code)
}

func (d *durable) Write(p []byte) (int, error) {
	if !d.answered {
		d.WriteHeader(http.StatusOK)
	}
	return d.ResponseWriter.Write(p)
}

// flush writes a new blob or manifest, and the folders that name it, through to the disk. The header Location of the
// answer says which it is.
func (r *Registry) flush(path string, header http.Header) error {
	location := header.Get("Location")
	location = location[strings.LastIndex(location, "/")+1:]
	repository, _, _ := strings.Cut(strings.TrimPrefix(filepath.Clean(path), "/v2/"), "/blobs/")
	repository, reference, isManifest := strings.Cut(repository, "/manifests/")
	digest := location
	if isManifest {
		digest = header.Get("Docker-Content-Digest")
	}
	algorithm, encoded, ok := strings.Cut(digest, ":")
	if !ok {
		return fmt.Errorf("the answer names no digest for %q", reference)
	}
	base := filepath.Join(r.dir, filepath.FromSlash(repository))
	blobs := filepath.Join(base, "blobs", algorithm)
	paths := []string{filepath.Join(blobs, encoded), blobs}
	if isManifest {
		paths = append(paths, filepath.Join(base, "index.json"), filepath.Join(base, "oci-layout"))
	}
	// The folders up to the root, which may be new.
	for dir := filepath.Dir(blobs); strings.HasPrefix(dir, r.dir); dir = filepath.Dir(dir) {
		paths = append(paths, dir)
	}
	for _, path := range paths {
		if err := fsync(path); err != nil {
			return err
		}
	}
	return nil
}

func fsync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
