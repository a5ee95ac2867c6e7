package sourcetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
)

// Tarball packs files into a tar archive below a folder, with gzip; an empty folder is none.
func Tarball(t testing.TB, folder string, files map[string]string) []byte {
	t.Helper()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if err := WriteTar(zip, folder, files); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// WriteTar writes a tar archive of files below a folder.
func WriteTar(to io.Writer, folder string, files map[string]string) error {
	archive := tar.NewWriter(to)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{Name: strings.TrimPrefix(folder+"/"+name, "/"), Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write([]byte(files[name])); err != nil {
			return err
		}
	}
	return archive.Close()
}
