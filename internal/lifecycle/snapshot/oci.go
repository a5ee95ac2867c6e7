package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// OCI is a registry.
type OCI struct{ URL string }

// A snapshot is an artifact: one layer, the file, and annotations that say the rest. Its tag is its name.
const (
	artifactType = "application/vnd.umbel.cluster-snapshot.v1"
	layerType    = "application/vnd.umbel.cluster-snapshot.v1.etcd"
	clusterNote  = "dev.umbel.snapshot.cluster"
	versionNote  = "dev.umbel.snapshot.kubernetes"
	servicesNote = "dev.umbel.snapshot.services"
)

// artifacts are those of a cluster's repository.
type artifacts struct{ repository *remote.Repository }

func openOCI(t OCI, with Credentials, namespace, cluster string) (Store, error) {
	at, err := url.Parse(t.URL)
	if err != nil || at.Host == "" {
		return nil, fmt.Errorf("target.oci.url %q is no URL such as https://registry.example.com/backups", t.URL)
	}
	repository, err := remote.NewRepository(at.Host + "/" + path.Join(at.Path, namespace, cluster)[min(1, len(at.Path)):])
	if err != nil {
		return nil, fmt.Errorf("target.oci.url %q: %w", t.URL, err)
	}
	transport, err := with.transport()
	if err != nil {
		return nil, err
	}
	client := &auth.Client{Client: &http.Client{Transport: transport}, Cache: auth.NewCache()}
	if with.Username != "" || with.Password != "" {
		client.Credential = auth.StaticCredential(at.Host, auth.Credential{Username: with.Username, Password: with.Password})
	}
	repository.PlainHTTP, repository.Client = at.Scheme == "http", client
	return artifacts{repository}, nil
}

func (a artifacts) Put(ctx context.Context, s Snapshot, file string) error {
	layer := ocispec.Descriptor{MediaType: layerType, Digest: digest.NewDigestFromEncoded(digest.SHA256, s.SHA256), Size: s.Size}
	there, err := a.repository.Blobs().Exists(ctx, layer)
	if err != nil {
		return a.explain("looking for "+s.Name, err)
	}
	if !there {
		data, err := os.Open(file)
		if err != nil {
			return err
		}
		defer data.Close()
		if err := a.repository.Blobs().Push(ctx, layer, data); err != nil {
			return a.explain("writing "+s.Name, err)
		}
	}
	manifest, err := oras.PackManifest(ctx, a.repository, oras.PackManifestVersion1_1, artifactType, oras.PackManifestOptions{
		Layers: []ocispec.Descriptor{layer},
		ManifestAnnotations: map[string]string{
			ocispec.AnnotationCreated: s.Time.UTC().Format(time.RFC3339), clusterNote: s.Cluster, versionNote: s.Version, servicesNote: s.Services,
		},
	})
	if err == nil {
		err = a.repository.Tag(ctx, manifest, s.Name)
	}
	return a.explain("writing "+s.Name, err)
}

func (a artifacts) List(ctx context.Context) ([]Snapshot, error) {
	var names []string
	err := a.repository.Tags(ctx, "", func(page []string) error {
		names = append(names, page...)
		return nil
	})
	if missing(err) { // nothing was put there yet
		return nil, nil
	}
	if err != nil {
		return nil, a.explain("listing", err)
	}
	var all []Snapshot
	for _, name := range names {
		if !nameForm.MatchString(name) {
			continue
		}
		s, _, err := a.read(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return newestFirst(all), nil
}

// read returns what a manifest says of a snapshot, and where that is.
func (a artifacts) read(ctx context.Context, name string) (Snapshot, ocispec.Descriptor, error) {
	found, raw, err := oras.FetchBytes(ctx, a.repository, name, oras.DefaultFetchBytesOptions)
	if err != nil {
		return Snapshot{}, found, a.explain("reading "+name, err)
	}
	manifest, err := manifestOf(raw)
	if err != nil || manifest.ArtifactType != artifactType || len(manifest.Layers) != 1 {
		return Snapshot{}, found, Snapshot{}.check(name)
	}
	notes, layer := manifest.Annotations, manifest.Layers[0]
	s := Snapshot{Name: name, Cluster: notes[clusterNote], Size: layer.Size, SHA256: layer.Digest.Encoded(), Version: notes[versionNote], Services: notes[servicesNote]}
	s.Time, _ = time.Parse(time.RFC3339, notes[ocispec.AnnotationCreated]) // zero when it says none; the name has it as well
	return s, found, s.check(name)
}

func (a artifacts) Fetch(ctx context.Context, name, file string) (Snapshot, error) {
	s, _, err := a.read(ctx, name)
	if err != nil {
		return s, err
	}
	data, err := a.repository.Blobs().Fetch(ctx, ocispec.Descriptor{MediaType: layerType, Digest: digest.NewDigestFromEncoded(digest.SHA256, s.SHA256), Size: s.Size})
	if missing(err) {
		return s, &CorruptError{name, "its data are gone"}
	}
	if err != nil {
		return s, a.explain("reading "+name, err)
	}
	defer data.Close()
	return s, save(s, io.Reader(data), file)
}

func (a artifacts) Delete(ctx context.Context, name string) error {
	found, err := a.repository.Resolve(ctx, name)
	if missing(err) {
		return nil
	}
	if err == nil {
		err = a.repository.Delete(ctx, found)
	}
	var refused *errcode.ErrorResponse
	if errors.As(err, &refused) && refused.StatusCode == http.StatusMethodNotAllowed {
		return fmt.Errorf("deleting %s: the registry lets nothing be deleted: have it do so, or set retain to what it is to hold", name)
	}
	return a.explain("deleting "+name, err)
}

// explain says of an error what was tried. What is not there is fs.ErrNotExist.
func (a artifacts) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	if missing(err) {
		err = errors.Join(fs.ErrNotExist, err)
	}
	return fmt.Errorf("%s in repository %s: %w", what, a.repository.Reference.Repository, err)
}

func missing(err error) bool {
	var refused *errcode.ErrorResponse
	return errors.Is(err, errdef.ErrNotFound) || errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound
}

func manifestOf(raw []byte) (m ocispec.Manifest, err error) {
	return m, json.Unmarshal(raw, &m)
}
