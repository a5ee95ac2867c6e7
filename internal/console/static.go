package console

import (
	"bytes"
	"compress/gzip"
	"embed"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"

	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// dist is what console/ was built to: `make console` makes it, and CI compares.
//
//go:embed all:dist
var dist embed.FS

// servePage answers every place in the console with the one page that there is, which finds its way by its address.
func (c *Console) servePage(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		kubeproxy.WriteError(w, http.StatusMethodNotAllowed, "nothing here takes "+r.Method)
		return
	}
	if at := strings.TrimPrefix(r.URL.Path, Prefix); strings.HasPrefix(at, "api/") || strings.HasPrefix(at, "assets/") {
		kubeproxy.WriteError(w, http.StatusNotFound, "nothing is served at this path of the console")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	send(w, r, "dist/index.html")
}

// serveAsset serves scripts and styles. Their names have the hash of what is in them, so a browser may keep them.
func (c *Console) serveAsset(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	send(w, r, "dist/assets/"+name)
}

// packed are embedded files that somebody asked for, compressed.
var packed sync.Map

// send sends an embedded file, compressed to those who take it so.
func send(w http.ResponseWriter, r *http.Request, name string) {
	content, err := dist.ReadFile(name)
	if err != nil {
		w.Header().Del("Cache-Control")
		kubeproxy.WriteError(w, http.StatusNotFound, "the console has no such file; reload the page: the hub may be of another version by now")
		return
	}
	w.Header().Set("Vary", "Accept-Encoding")
	if takesGzip(r) {
		w.Header().Set("Content-Encoding", "gzip")
		content = pack(name, content)
	}
	w.Write(content)
}

func pack(name string, content []byte) []byte {
	if was, ok := packed.Load(name); ok {
		return was.([]byte)
	}
	var small bytes.Buffer
	to := gzip.NewWriter(&small)
	to.Write(content) // a buffer takes all
	to.Close()
	packed.Store(name, small.Bytes())
	return small.Bytes()
}

func takesGzip(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
}

// compressed returns where an answer is to be written, for those who take it compressed, and how it ends.
func compressed(w http.ResponseWriter, r *http.Request) (io.Writer, func()) {
	w.Header().Set("Vary", "Accept-Encoding")
	if !takesGzip(r) {
		return w, func() {}
	}
	w.Header().Set("Content-Encoding", "gzip")
	to, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil { // the level is one that there is
		return w, func() {}
	}
	return to, func() { to.Close() }
}
