package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Store is where the snapshots of one cluster are.
type Store interface {
	// Put brings the file of a snapshot there. One of that name that is there already is replaced.
	Put(ctx context.Context, s Snapshot, file string) error
	// List returns those that are there whole, the newest first.
	List(ctx context.Context) ([]Snapshot, error)
	// Fetch writes a snapshot into a file, which is not there when it fails: *CorruptError when it is not what was put there,
	// fs.ErrNotExist when there is none of that name.
	Fetch(ctx context.Context, name, file string) (Snapshot, error)
	// Delete removes a snapshot. It is no error when there is none.
	Delete(ctx context.Context, name string) error
}

// Target says where snapshots are kept. One of Folder, S3 and OCI is set.
type Target struct {
	// Folder is the path of one.
	Folder string
	S3     *S3
	OCI    *OCI
	Credentials
}

// Credentials are what a target asks for. They print as nothing.
type Credentials struct {
	Username, Password string
	// CA is that of the server, as PEM; empty for those that the system trusts.
	CA []byte
}

// String and GoString keep credentials out of logs.
func (Credentials) String() string { return "credentials" }

// GoString is String.
func (c Credentials) GoString() string { return c.String() }

// CorruptError says that a snapshot is not what was put there.
type CorruptError struct{ Name, Problem string }

func (e *CorruptError) Error() string {
	return fmt.Sprintf("snapshot %s is not what was put there: %s; take another one", e.Name, e.Problem)
}

// Open returns the store of a cluster's snapshots in a target. It asks for nothing yet.
func Open(t Target, namespace, cluster string) (Store, error) {
	switch {
	case t.S3 != nil:
		return openS3(*t.S3, t.Credentials, namespace, cluster)
	case t.OCI != nil:
		return openOCI(*t.OCI, t.Credentials, namespace, cluster)
	case t.Folder != "":
		return files{folder(filepath.Join(t.Folder, namespace, cluster))}, nil
	}
	return nil, errors.New("the target says neither folder nor s3 nor oci")
}

// blobs are files by name, which are there whole or not at all.
type blobs interface {
	put(ctx context.Context, name string, content io.Reader, size int64) error
	get(ctx context.Context, name string) (io.ReadCloser, error)
	names(ctx context.Context) ([]string, error)
	remove(ctx context.Context, name string) error
}

// files keeps a snapshot as two files: NAME.db, and after it NAME.json, which says that it is there.
type files struct{ blobs }

const (
	dataSuffix, noteSuffix = ".db", ".json"
	// maxNote is how long what is said of a snapshot may be.
	maxNote = 1 << 16
)

func (f files) Put(ctx context.Context, s Snapshot, file string) error {
	data, err := os.Open(file)
	if err != nil {
		return err
	}
	defer data.Close()
	if err := f.put(ctx, s.Name+dataSuffix, data, s.Size); err != nil {
		return err
	}
	note, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return f.put(ctx, s.Name+noteSuffix, strings.NewReader(string(note)), int64(len(note)))
}

func (f files) List(ctx context.Context) ([]Snapshot, error) {
	names, err := f.names(ctx)
	if err != nil {
		return nil, err
	}
	var all []Snapshot
	for _, file := range names {
		name, ok := strings.CutSuffix(file, noteSuffix)
		if !ok || !nameForm.MatchString(name) {
			continue
		}
		s, err := f.note(ctx, name)
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

func (f files) note(ctx context.Context, name string) (s Snapshot, err error) {
	content, err := f.get(ctx, name+noteSuffix)
	if err != nil {
		return s, err
	}
	defer content.Close()
	raw, err := io.ReadAll(io.LimitReader(content, maxNote))
	if err != nil {
		return s, err
	}
	if json.Unmarshal(raw, &s) != nil {
		s = Snapshot{}
	}
	return s, s.check(name)
}

func (f files) Fetch(ctx context.Context, name, file string) (Snapshot, error) {
	s, err := f.note(ctx, name)
	if err != nil {
		return s, err
	}
	content, err := f.get(ctx, name+dataSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return s, &CorruptError{name, "its data are gone"}
	}
	if err != nil {
		return s, err
	}
	defer content.Close()
	return s, save(s, content, file)
}

// Delete removes what says that the snapshot is there first.
func (f files) Delete(ctx context.Context, name string) error {
	for _, suffix := range []string{noteSuffix, dataSuffix} {
		if err := f.remove(ctx, name+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// save writes the content of a snapshot into a file, and verifies it.
func save(s Snapshot, content io.Reader, file string) (err error) {
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			err = errors.Join(err, os.Remove(file))
		}
	}()
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(out, sum), io.LimitReader(content, s.Size+1))
	if err != nil {
		return fmt.Errorf("fetching snapshot %s: %w", s.Name, err)
	}
	if size != s.Size {
		return &CorruptError{s.Name, fmt.Sprintf("it has %d bytes, or more, instead of %d", size, s.Size)}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != s.SHA256 {
		return &CorruptError{s.Name, fmt.Sprintf("its SHA-256 is %s instead of %s", got, s.SHA256)}
	}
	return out.Sync()
}

// Describe fills in what a file says of itself: its size and its SHA-256.
func Describe(s Snapshot, file string) (Snapshot, error) {
	in, err := os.Open(file)
	if err != nil {
		return s, err
	}
	defer in.Close()
	sum := sha256.New()
	s.Size, err = io.Copy(sum, in)
	s.SHA256, s.Time = hex.EncodeToString(sum.Sum(nil)), s.Time.UTC().Truncate(time.Second)
	return s, err
}
