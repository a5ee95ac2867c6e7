package computertest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// cloudConfig is what cloud-init does of what Cluster API's provider of kubeadm asks for.
type cloudConfig struct {
	WriteFiles []cloudFile `json:"write_files"`
	RunCmd     []string    `json:"runcmd"`
}

type cloudFile struct {
	Path        string `json:"path"`
	Encoding    string `json:"encoding"`
	Permissions string `json:"permissions"`
	Append      bool   `json:"append"`
	Content     string `json:"content"`
}

// cloudInit does what the user data says, once there is a containerd that has the images. As cloud-init does, it goes on with the next command when
// one has failed.
func (s system) cloudInit(ctx context.Context, log *os.File) error {
	if err := answers(ctx); err != nil {
		return err
	}
	for _, image := range s.Images {
		if err := command(ctx, log, "ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", image); err != nil {
			return fmt.Errorf("importing %s: %w", image, err)
		}
	}
	var config cloudConfig
	data := strings.ReplaceAll(s.UserData, "{{ ds.meta_data.local_hostname }}", s.Node)
	if err := yaml.Unmarshal([]byte(data), &config); err != nil {
		return fmt.Errorf("reading its user data: %w", err)
	}
	for _, f := range config.WriteFiles {
		if err := f.write(); err != nil {
			return fmt.Errorf("writing %s: %w", f.Path, err)
		}
	}
	var failed error
	for _, line := range config.RunCmd {
		if err := command(ctx, log, "sh", "-c", line); err != nil {
			failed = fmt.Errorf("%s: %w", line, err)
		}
	}
	return failed
}

// answers waits until containerd does.
func answers(ctx context.Context) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for containerd: %w", err)
		case <-ticker.C:
		}
	}
}

func command(ctx context.Context, log *os.File, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	return cmd.Run()
}

func (f cloudFile) write() error {
	content, err := f.content()
	if err != nil {
		return err
	}
	mode := uint64(0o644)
	if f.Permissions != "" {
		if mode, err = strconv.ParseUint(f.Permissions, 8, 32); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	how := os.O_TRUNC
	if f.Append {
		how = os.O_APPEND
	}
	file, err := os.OpenFile(f.Path, os.O_CREATE|os.O_WRONLY|how, os.FileMode(mode))
	if err != nil {
		return err
	}
	if _, err := file.Write(content); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

func (f cloudFile) content() ([]byte, error) {
	content := []byte(f.Content)
	var err error
	if strings.Contains(f.Encoding, "base64") || strings.Contains(f.Encoding, "b64") {
		if content, err = base64.StdEncoding.DecodeString(strings.TrimSpace(f.Content)); err != nil {
			return nil, err
		}
	}
	if !strings.HasPrefix(f.Encoding, "gz") {
		return content, nil
	}
	plain, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}
