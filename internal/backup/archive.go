package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
)

const (
	// Format is the version of the archive that this build writes, and the highest that it reads.
	Format = 1

	magic        = "umbel-backup"
	manifestName = "manifest.json"
	// maxManifest, maxParts and maxPart bound what a reader takes.
	maxManifest = 64 << 20
	maxParts    = 1_000_000
	maxPart     = 4 << 30
)

// Manifest says what an archive is and what is in it. It comes first.
type Manifest struct {
	// Magic is the same in every archive, Format the version of it.
	Magic  string `json:"magic"`
	Format int    `json:"format"`
	// ID tells this archive from any other.
	ID string `json:"id"`
	// Umbel is the version that wrote it, and Time the moment that it shows.
	Umbel string    `json:"umbel"`
	Time  time.Time `json:"time"`
	// Objects counts the objects by their kinds.
	Objects map[string]int `json:"objects"`
	Parts   []Part         `json:"parts"`
}

// Part is one file of an archive.
type Part struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Errors of Read.
var (
	// ErrForeign: it is not a backup of a hub.
	ErrForeign = errors.New("this is not a backup of an Umbel hub")
	// ErrNewer: a newer version wrote it.
	ErrNewer = errors.New("a newer umbel wrote this backup")
	// ErrDamaged: it is cut off, or not as it was written.
	ErrDamaged = errors.New("the backup is damaged")
)

// write writes an archive: the manifest, then what content returns for each part, in their order.
func write(to io.Writer, manifest Manifest, content func(Part) ([]byte, error)) error {
	compressed, err := zstd.NewWriter(to)
	if err != nil {
		return err
	}
	files := tar.NewWriter(compressed)
	raw, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	put := func(name string, raw []byte) error {
		header := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(raw)), ModTime: manifest.Time, Format: tar.FormatPAX}
		if err := files.WriteHeader(header); err != nil {
			return err
		}
		_, err := files.Write(raw)
		return err
	}
	err = put(manifestName, raw)
	for i := 0; err == nil && i < len(manifest.Parts); i++ {
		if raw, err = content(manifest.Parts[i]); err == nil {
			err = put(manifest.Parts[i].Name, raw)
		}
	}
	return errors.Join(err, files.Close(), compressed.Close())
}

// Read reads an archive to its end and verifies it. It hands each part to visit, when the part is verified; visit may be nil.
func Read(from io.Reader, visit func(Part, []byte) error) (Manifest, error) {
	decompressed, err := zstd.NewReader(from, zstd.WithDecoderMaxMemory(1<<30), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return Manifest{}, err
	}
	defer decompressed.Close()
	files := tar.NewReader(decompressed)
	manifest, err := readManifest(files)
	if err != nil {
		return manifest, err
	}
	for _, part := range manifest.Parts {
		raw, err := readPart(files, part)
		if err != nil {
			return manifest, err
		}
		if visit == nil {
			continue
		}
		if err := visit(part, raw); err != nil {
			return manifest, err
		}
	}
	switch _, err := files.Next(); {
	case err == nil:
		return manifest, fmt.Errorf("%w: there is more in it than its manifest names", ErrDamaged)
	case !errors.Is(err, io.EOF):
		return manifest, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if _, err := io.Copy(io.Discard, decompressed); err != nil {
		return manifest, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return manifest, nil
}

func readManifest(files *tar.Reader) (Manifest, error) {
	var manifest Manifest
	header, err := files.Next()
	if err != nil || header.Name != manifestName {
		return manifest, ErrForeign
	}
	if header.Size > maxManifest {
		return manifest, fmt.Errorf("%w: its manifest has %d bytes", ErrDamaged, header.Size)
	}
	raw, err := io.ReadAll(files)
	if err != nil {
		return manifest, fmt.Errorf("%w: %s: %w", ErrDamaged, manifestName, err)
	}
	if err := json.Unmarshal(raw, &manifest); err != nil || manifest.Magic != magic {
		return Manifest{}, ErrForeign
	}
	switch {
	case manifest.Format > Format:
		return manifest, fmt.Errorf("%w: it has format %d and was written by %s, this umbel reads up to %d; restore it with that version",
			ErrNewer, manifest.Format, manifest.Umbel, Format)
	case manifest.Format < 1 || manifest.ID == "" || len(manifest.Parts) > maxParts:
		return manifest, fmt.Errorf("%w: its manifest makes no sense", ErrDamaged)
	}
	return manifest, nil
}

func readPart(files *tar.Reader, part Part) ([]byte, error) {
	header, err := files.Next()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: it ends before %s", ErrDamaged, part.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: looking for %s: %w", ErrDamaged, part.Name, err)
	}
	if header.Name != part.Name || header.Size != part.Size || part.Size > maxPart {
		return nil, fmt.Errorf("%w: where %s of %d bytes should be there is %.80q of %d", ErrDamaged, part.Name, part.Size, header.Name, header.Size)
	}
	var content bytes.Buffer
	if _, err := io.Copy(&content, files); err != nil { // memory only for what arrives
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, part.Name, err)
	}
	if sum(content.Bytes()) != part.SHA256 {
		return nil, fmt.Errorf("%w: %s is not as it was written (its SHA-256 differs)", ErrDamaged, part.Name)
	}
	return content.Bytes(), nil
}

func partOf(name string, raw []byte) Part {
	return Part{Name: name, Size: int64(len(raw)), SHA256: sum(raw)}
}

func sum(raw []byte) string {
	digest := sha256.Sum256(raw)
	return hex.EncodeToString(digest[:])
}
