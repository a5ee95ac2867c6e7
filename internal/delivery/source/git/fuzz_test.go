package git

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/storage/memory"

	"umbel.dev/umbel/internal/delivery/source"
)

// answers are what a server of Git says: which references it has, and the objects, both as they go over the line.
type answers struct{ refs, pack []byte }

// ServeHTTP speaks as git http-backend does, whatever the answers are.
func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/info/refs") {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		w.Write(a.refs)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
	w.Write(a.pack)
}

// objects are a commit, a folder and a file as Git keeps them: TREE in the one and 20 times B in the other stand for the hash of the next.
type objects struct{ commit, tree, blob []byte }

// told are the answers of a server that has these objects. COMMIT in the lines of references stands for its hash.
func (o objects) told(refs string) (*answers, error) {
	store := memory.NewStorage()
	var hashes []plumbing.Hash
	put := func(kind plumbing.ObjectType, content []byte) (plumbing.Hash, error) {
		object := store.NewEncodedObject()
		object.SetType(kind)
		object.SetSize(int64(len(content)))
		w, err := object.Writer()
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if _, err := w.Write(content); err != nil {
			return plumbing.ZeroHash, err
		}
		hash, err := store.SetEncodedObject(object)
		hashes = append(hashes, hash)
		return hash, err
	}
	blob, err := put(plumbing.BlobObject, o.blob)
	if err != nil {
		return nil, err
	}
	tree, err := put(plumbing.TreeObject, bytes.ReplaceAll(o.tree, bytes.Repeat([]byte("B"), 20), blob[:]))
	if err != nil {
		return nil, err
	}
	commit, err := put(plumbing.CommitObject, bytes.ReplaceAll(o.commit, []byte("TREE"), []byte(tree.String())))
	if err != nil {
		return nil, err
	}
	var pack, said bytes.Buffer
	pack.WriteString("0008NAK\n")
	if _, err := packfile.NewEncoder(&pack, store, false).Encode(hashes, 0); err != nil {
		return nil, err
	}
	lines := pktline.NewEncoder(&said)
	if err := lines.EncodeString("# service=git-upload-pack\n"); err != nil {
		return nil, err
	}
	if err := lines.Flush(); err != nil {
		return nil, err
	}
	capabilities := "\x00no-progress ofs-delta agent=test"
	for line := range strings.Lines(strings.ReplaceAll(refs, "COMMIT", commit.String())) {
		if err := lines.EncodeString(strings.TrimSuffix(line, "\n") + capabilities + "\n"); err != nil {
			return nil, err
		}
		capabilities = ""
	}
	err = lines.Flush()
	return &answers{said.Bytes(), pack.Bytes()}, err
}

const (
	honestCommit = "tree TREE\nauthor A <a@example.org> 1700000000 +0000\ncommitter A <a@example.org> 1700000000 +0000\n\nhonest\n"
	honestTree   = "100644 a.yaml\x00BBBBBBBBBBBBBBBBBBBB"
)

// FuzzServer: whatever a server says it has, and sends, ends as a revision that can be read, or as an error; no name in it is more than a
// name; and once the server says what is true, what it said before does no harm.
func FuzzServer(f *testing.F) {
	const main = "COMMIT refs/heads/main"
	f.Add(main, []byte(honestCommit), []byte(honestTree), []byte("a: b\n"), []byte(nil), []byte(nil))
	f.Add(main, []byte(honestCommit), []byte("100644 ..\x00BBBBBBBBBBBBBBBBBBBB40000 a/b\x00BBBBBBBBBBBBBBBBBBBB120000 .git\x00BBBBBBBBBBBBBBBBBBBB"), []byte("x"), []byte(nil), []byte(nil))
	f.Add(main, []byte("tree TREE\ntree x\nparent COMMIT\nauthor <> x\n"), []byte("100644 a\x00B"), []byte(""), []byte(nil), []byte(nil))
	f.Add("COMMIT HEAD\nCOMMIT refs/tags/main\nCOMMIT refs/tags/main^{}\nCOMMIT refs/heads/../../x", []byte(honestCommit), []byte("160000 sub\x00BBBBBBBBBBBBBBBBBBBB100644 .gitmodules\x00BBBBBBBBBBBBBBBBBBBB"), []byte("[submodule \"x\"]\npath=../x\nurl=file:///\n"), []byte(nil), []byte(nil))
	f.Add("", []byte(nil), []byte(nil), []byte(nil), []byte("001e# service=git-upload-pack\n0000ffff"), []byte("0008NAK\nPACK\x00\x00\x00\x02\xff\xff\xff\xff"))
	f.Add(main, []byte(honestCommit), []byte(honestTree), []byte("x"), []byte(nil), []byte("0008NAK\nPACK\x00\x00\x00\x02\x00\x00\x00\x01\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add(main, []byte(honestCommit), []byte(honestTree), []byte("x"), []byte(nil), []byte("0031ERR upload-pack: not our ref\n"))
	honest, err := objects{[]byte(honestCommit), []byte(honestTree), []byte("honest")}.told(main)
	if err != nil {
		f.Fatal(err)
	}
	var now atomic.Pointer[answers]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { now.Load().ServeHTTP(w, r) }))
	f.Cleanup(server.Close)
	ref := source.Ref{Kind: source.Git, URL: server.URL + "/repository", Name: "main", Submodules: true}
	f.Fuzz(func(t *testing.T, refs string, commit, tree, blob, rawRefs, rawPack []byte) {
		said, err := objects{commit, tree, blob}.told(refs)
		if err != nil {
			return // it cannot be said
		}
		if len(rawRefs) > 0 {
			said.refs = rawRefs
		}
		if len(rawPack) > 0 {
			said.pack = rawPack
		}
		now.Store(said)
		reader, err := New(Config{Dir: t.TempDir(), Limits: source.Limits{Files: 1000, Bytes: 1 << 20, Fetch: 1 << 20}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		revision, err := reader.Resolve(ctx, ref, source.Credentials{})
		if ctx.Err() != nil {
			t.Fatal("it does not end")
		}
		if err == nil {
			if !fullHash.MatchString(revision.ID) {
				t.Errorf("the revision %q", revision.ID)
			}
			if err := namesIn(reader, ref, revision.ID); err != nil {
				t.Error(err)
			}
		}
		now.Store(honest)
		if revision, err = reader.Resolve(ctx, ref, source.Credentials{}); err != nil {
			t.Fatalf("after it the honest server cannot be read: %v", err)
		}
		files, err := reader.Tree(ref, revision.ID)
		if err != nil {
			t.Fatal(err)
		}
		if content, err := fs.ReadFile(files, "a.yaml"); err != nil || string(content) != "honest" {
			t.Errorf("after it the honest server's file is %q, %v", content, err)
		}
	})
}

// namesIn looks at all that can be looked at. An error of a file or a folder is no error: it says what is wrong with it.
func namesIn(reader *Reader, ref source.Ref, revision string) error {
	files, err := reader.Tree(ref, revision)
	if err != nil {
		return nil
	}
	return fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir
		}
		if base := entry.Name(); name != "." && (base == "" || base == "." || base == ".." || strings.Contains(base, "/")) {
			return fmt.Errorf("%q is no name of a file", base)
		}
		if !entry.IsDir() {
			_, _ = fs.ReadFile(files, name)
		}
		return nil
	})
}
