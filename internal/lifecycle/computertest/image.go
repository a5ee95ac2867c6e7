package computertest

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
)

// components are what kubeadm runs as static pods.
var components = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}

// writeImages writes the files of the images that a computer has: one of all components, called as kubeadm calls each, and pause.
func writeImages(dir, kube, kubeadm, pause string) ([]string, error) {
	refs, err := wanted(kube, kubeadm)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return kubeLayer(kube) }, tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config = "linux", runtime.GOARCH, v1.Config{Env: []string{"PATH=/usr/local/bin"}}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, err
	}
	images := map[name.Reference]v1.Image{}
	for _, ref := range refs {
		images[ref] = image
	}
	all := []string{filepath.Join(dir, "pause.tar"), filepath.Join(dir, "kube.tar")}
	if err := content.ImageTarball(all[0], machine.PauseImage, pause); err != nil {
		return nil, err
	}
	return all, tarball.MultiRefWriteToFile(all[1], images)
}

// wanted returns what kubeadm calls the images of components.
func wanted(kube, kubeadm string) ([]name.Reference, error) {
	version, err := exec.Command(kube, "version").Output()
	if err != nil {
		return nil, fmt.Errorf("asking which Kubernetes %s is: %w", kube, err)
	}
	list, err := exec.Command(kubeadm, "config", "images", "list", "--kubernetes-version", strings.TrimSpace(string(version))).Output()
	if err != nil {
		return nil, fmt.Errorf("asking kubeadm for its images: %w", err)
	}
	var refs []name.Reference
	for line := range strings.FieldsSeq(string(list)) {
		ref, err := name.NewTag(line)
		if err != nil {
			return nil, err
		}
		if slices.Contains(components, path.Base(ref.RepositoryStr())) {
			refs = append(refs, ref)
		}
	}
	if len(refs) != len(components) {
		return nil, fmt.Errorf("kubeadm wants the images %s, and %v were expected among them", list, components)
	}
	return refs, nil
}

// kubeLayer streams a tar with the program, and a link to it for each component.
func kubeLayer(kube string) (io.ReadCloser, error) {
	program, err := os.Open(kube)
	if err != nil {
		return nil, err
	}
	info, err := program.Stat()
	if err != nil {
		program.Close()
		return nil, err
	}
	out, in := io.Pipe()
	go func() {
		defer program.Close()
		in.CloseWithError(writeLayer(tar.NewWriter(in), program, info.Size()))
	}()
	return out, nil
}

func writeLayer(w *tar.Writer, program io.Reader, size int64) error {
	const dir = "usr/local/bin/"
	if err := w.WriteHeader(&tar.Header{Name: dir + "umbel-kube", Mode: 0o755, Size: size, Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	if _, err := io.Copy(w, program); err != nil {
		return err
	}
	for _, component := range components {
		if err := w.WriteHeader(&tar.Header{Name: dir + component, Linkname: "umbel-kube", Typeflag: tar.TypeSymlink, Mode: 0o777}); err != nil {
			return err
		}
	}
	return w.Close()
}
