package helm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/internal/delivery/source"
)

const (
	// maxIndex bounds the index of a repository; the largest public ones have about 20 MiB.
	maxIndex = 64 << 20
	// maxChart bounds the archive of a chart. Helm itself takes 100 MiB unpacked.
	maxChart = 100 << 20
)

// indexKey is whose index it is.
type indexKey struct{ url, chart, secret string }

// index is what a repository said of one chart.
type index struct {
	etag     string // of the whole, to ask whether it changed
	modified string // the same, where a server has no etag
	versions []version
}

// version of a chart, as an index has it.
type version struct {
	Version string   `json:"version"`
	Digest  string   `json:"digest"`
	URLs    []string `json:"urls"`
}

// visit is one fetch from a repository.
type visit struct {
	ref    source.Ref
	with   source.Credentials
	base   *url.URL
	client *http.Client
}

func (r *Reader) resolveHTTP(ctx context.Context, ref source.Ref, with source.Credentials) (source.Revision, error) {
	base, err := url.Parse(strings.TrimRight(ref.URL, "/") + "/")
	if err != nil {
		return source.Revision{}, err
	}
	line := source.Encrypted
	if base.Scheme == "http" {
		line = source.PlainHTTP
	}
	if err := with.CheckLine(ref, base.Host, line); err != nil {
		return source.Revision{}, err
	}
	speaking, err := source.NewTransport(ref, with, source.NewAllowance(r.config.Limits.Fetch))
	if err != nil {
		return source.Revision{}, err
	}
	defer speaking.CloseIdleConnections()
	v := &visit{ref, with, base, &http.Client{Transport: speaking}}
	versions, err := r.versions(ctx, v)
	if err != nil {
		return source.Revision{}, err
	}
	names := make([]string, len(versions))
	for i, version := range versions {
		names[i] = version.Version
	}
	newest, err := source.Newest(names, ref.Range)
	switch {
	case err != nil:
		return source.Revision{}, source.RefNotFound(ref, "spec.source.helm.version: %w", err)
	case newest == "":
		return source.Revision{}, source.RefNotFound(ref, "none of the %d versions of chart %q is one that %q allows (spec.source.helm.version)", len(versions), ref.Chart, ref.Range)
	}
	for _, version := range versions {
		if version.Version == newest {
			digest, err := r.chart(ctx, v, version)
			return revision(newest, digest), err
		}
	}
	return source.Revision{}, fmt.Errorf("the index lost version %s", newest)
}

// versions asks for those of a chart, when they changed.
func (r *Reader) versions(ctx context.Context, v *visit) ([]version, error) {
	key := indexKey{v.ref.URL, v.ref.Chart, v.ref.Secret}
	r.mu.Lock()
	known := r.indexes[key]
	r.mu.Unlock()
	at := v.base.ResolveReference(&url.URL{Path: "index.yaml"})
	answer, err := v.get(ctx, at, known)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusNotModified && known != nil {
		answer.Body.Close()
		if known.still(answer.Header) {
			return known.versions, nil
		}
		if answer, err = v.get(ctx, at, nil); err != nil {
			return nil, err
		}
	}
	defer answer.Body.Close()
	raw, err := readUpTo(answer.Body, maxIndex)
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	versions, err := versionsIn(raw, v.ref.Chart)
	if err != nil {
		return nil, err
	}
	if len(versions) == 0 {
		return nil, source.RefNotFound(v.ref, "the repository has no chart %q (spec.source.helm.chart)", v.ref.Chart)
	}
	r.mu.Lock()
	r.indexes[key] = &index{answer.Header.Get("Etag"), modified(answer.Header), versions}
	r.mu.Unlock()
	return versions, nil
}

// still says whether "not modified" is about what is known. To servers that go by dates it is also what is older than that, such as
// an index that somebody put back.
func (x *index) still(answer http.Header) bool {
	now := answer.Get("Last-Modified")
	return x.etag != "" || now == "" || now == x.modified
}

// modified is when a server wrote what it sends, if that tells it from what it writes later: it counts in seconds, and may write
// again in the one that it answers in (RFC 9110, 8.8.2.2).
func modified(answer http.Header) string {
	written, err := http.ParseTime(answer.Get("Last-Modified"))
	if err != nil {
		return ""
	}
	if sent, err := http.ParseTime(answer.Get("Date")); err != nil || sent.Sub(written) <= time.Second {
		return ""
	}
	return answer.Get("Last-Modified")
}

// versionsIn are those of a chart that an index has.
func versionsIn(index []byte, chart string) ([]version, error) {
	var whole struct {
		Entries map[string][]version `json:"entries"`
	}
	if err := yaml.Unmarshal(index, &whole); err != nil {
		return nil, errors.New("index.yaml is no index of a repository of charts")
	}
	return whole.Entries[chart], nil
}

// chart brings the archive of a version, and returns its digest.
func (r *Reader) chart(ctx context.Context, v *visit, version version) (string, error) {
	store, err := r.registries.Stores().Open(v.ref)
	if err != nil {
		return "", err
	}
	if digest := "sha256:" + version.Digest; version.Digest != "" && store.Has(digest) {
		return digest, nil
	}
	if len(version.URLs) == 0 {
		return "", fmt.Errorf("the index says of chart %s %s not where it is", v.ref.Chart, version.Version)
	}
	at, err := v.base.Parse(version.URLs[0])
	if err != nil {
		return "", fmt.Errorf("the index says of chart %s %s that it is at %q", v.ref.Chart, version.Version, version.URLs[0])
	}
	answer, err := v.get(ctx, at, nil)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	raw, err := readUpTo(answer.Body, min(maxChart, r.config.Limits.Fetch))
	if err != nil {
		return "", fmt.Errorf("reading chart %s %s: %w", v.ref.Chart, version.Version, err)
	}
	sum := sha256.Sum256(raw)
	digest := hex.EncodeToString(sum[:])
	if version.Digest != "" && version.Digest != digest {
		return "", fmt.Errorf("the archive of chart %s %s is not the one that the index names: it has the digest %s, and not %s", v.ref.Chart, version.Version, digest, version.Digest)
	}
	return "sha256:" + digest, store.Put("sha256:"+digest, bytes.NewReader(raw), maxChart)
}

// get asks for something, if it is no longer what is known of it, with the credentials where it is the repository's own host that
// is asked.
func (v *visit) get(ctx context.Context, at *url.URL, known *index) (*http.Response, error) {
	if at.Scheme != "http" && at.Scheme != "https" {
		return nil, fmt.Errorf("%s:// is not spoken", at.Scheme)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	switch {
	case known == nil:
	case known.etag != "":
		request.Header.Set("If-None-Match", known.etag)
	case known.modified != "":
		request.Header.Set("If-Modified-Since", known.modified)
	}
	if at.Scheme == v.base.Scheme && at.Host == v.base.Host {
		switch {
		case v.with.Token != "":
			request.Header.Set("Authorization", "Bearer "+v.with.Token)
		case v.with.Password != "":
			request.SetBasicAuth(v.with.Username, v.with.Password)
		}
	}
	answer, err := v.client.Do(request)
	if err != nil {
		return nil, err
	}
	switch answer.StatusCode {
	case http.StatusOK, http.StatusNotModified:
		return answer, nil
	}
	answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, source.Refused(v.ref)
	case http.StatusNotFound:
		return nil, source.RefNotFound(v.ref, "there is no %s there", strings.TrimPrefix(at.Path, v.base.Path))
	}
	return nil, fmt.Errorf("the server answers %s", answer.Status)
}

func readUpTo(body io.Reader, limit int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = source.ErrTooLarge
	}
	return raw, err
}
