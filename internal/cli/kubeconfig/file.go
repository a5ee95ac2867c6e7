package kubeconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Edit changes the kubeconfig at path by do, whole or not at all, and leaves it readable by this user alone. Where
// there is none it begins with an empty one. Meanwhile kubectl's own lock keeps `kubectl config` out.
func Edit(path string, do func(*clientcmdapi.Config) error) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the link stays one
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("making the folder of kubeconfig %s: %w", path, err)
	}
	lock := path + ".lock"
	file, err := os.OpenFile(lock, os.O_CREATE|os.O_EXCL, 0)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("kubeconfig %s is being written by another program: try again, or remove %s when there is none", path, lock)
	}
	if err != nil {
		return fmt.Errorf("locking kubeconfig %s: %w", path, err)
	}
	defer os.Remove(lock)
	defer file.Close()

	config, err := clientcmd.LoadFromFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		config, err = clientcmdapi.NewConfig(), nil
	}
	if err != nil {
		return fmt.Errorf("reading kubeconfig %s: %w", path, err)
	}
	if err := do(config); err != nil {
		return fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	raw, err := clientcmd.Write(*config)
	if err == nil {
		err = replace(path, raw)
	}
	if err != nil {
		return fmt.Errorf("writing kubeconfig %s: %w", path, err)
	}
	return nil
}

// replace puts a file with the content in the place of the one at path.
func replace(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // for this user alone
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // it has another name when all went well
	if _, err = file.Write(content); err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
