package capi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/ports"
)

// coreProgram is Cluster API itself. It lies beside the hub's own program.
const coreProgram = "umbel-capi"

// certificateLife is how long the webhooks of one start are valid; a hub that has run for longer has been upgraded since.
const certificateLife = 10 * 365 * 24 * time.Hour

// Folder is where everything of one provider lies on the hub's machine.
type Folder string

// FolderOf returns the folder of a provider, below the folder of all.
func FolderOf(dir, provider string) Folder { return Folder(filepath.Join(dir, provider)) }

// Program is the file that is started, and Components the manifests that the provider's project releases.
func (f Folder) Program() string    { return filepath.Join(string(f), "program") }
func (f Folder) Components() string { return filepath.Join(string(f), "components.yaml") }

func (f Folder) certs() string      { return filepath.Join(string(f), "certs") }
func (f Folder) kubeconfig() string { return filepath.Join(string(f), "kubeconfig") }
func (f Folder) logs() string       { return filepath.Join(string(f), "logs") }

// logFile is where a process of it writes.
func (f Folder) logFile(process string) string { return filepath.Join(f.logs(), process+".log") }

// program returns what is started for a provider.
func (n Needs) program(provider string) string {
	if provider == v1alpha1.CoreProvider {
		return filepath.Join(n.Programs, coreProgram)
	}
	if own, ok := n.Own[provider]; ok {
		return own.Program
	}
	return FolderOf(n.Dir, provider).Program()
}

// manifests returns what a provider is made of. Cluster API's own are in its program.
func (n Needs) manifests(ctx context.Context, provider string, spec v1alpha1.ProviderSpec) ([]*unstructured.Unstructured, error) {
	if provider == v1alpha1.CoreProvider {
		command := exec.CommandContext(ctx, n.program(provider), "components")
		command.Dir, command.Env = "/", []string{"PATH="}
		raw, err := command.Output()
		if err != nil {
			return nil, fmt.Errorf("asking Cluster API for its manifests: %w: `make capi` builds it", err)
		}
		return Parse(raw)
	}
	if own, ok := n.Own[provider]; ok {
		return Parse(own.Components)
	}
	folder := FolderOf(n.Dir, provider)
	program, missing := os.ReadFile(folder.Program())
	raw, err := os.ReadFile(folder.Components())
	if err := errors.Join(missing, err); err != nil {
		return nil, fmt.Errorf("looking for its files on the hub's machine: %w: `umbel provider add %s`, run there, puts them there", err, provider)
	}
	if spec.Digest != "" && spec.Digest != Digest(program, raw) {
		return nil, fmt.Errorf("the files in %s are not those that were added: `umbel provider add %s`, run on this machine, puts others there", folder, provider)
	}
	return Parse(raw)
}

// Digest returns by what a Provider knows its program and its manifests.
func Digest(program, manifests []byte) string {
	one, other := sha256.Sum256(program), sha256.Sum256(manifests)
	return fmt.Sprintf("sha256:%x", sha256.Sum256(append(one[:], other[:]...)))
}

// Check says what is wrong with a provider's manifests.
func Check(raw []byte) error {
	manifests, err := Parse(raw)
	if err != nil {
		return err
	}
	_, _, err = shape("checked", manifests, served{})
	return err
}

// Parse reads the objects of a stream of YAML.
func Parse(raw []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
	for n := 1; ; n++ {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d of the manifests: %w", n, err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// prepare writes what a process needs to reach the API and to serve webhooks, anew for each start.
func (f Folder) prepare(provider string, config *rest.Config) (at start, ca []byte, err error) {
	for _, dir := range []string{f.certs(), f.logs()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return at, nil, fmt.Errorf("making the folder of provider %s: %w", provider, err)
		}
	}
	authority, err := identity.NewCA("umbel provider "+provider, certificateLife)
	if err != nil {
		return at, nil, err
	}
	pair, err := authority.IssueServer(identity.Request{CommonName: provider, Hosts: []string{"127.0.0.1"}, TTL: certificateLife})
	if err != nil {
		return at, nil, err
	}
	if err := pair.Write(filepath.Join(f.certs(), "tls.crt"), filepath.Join(f.certs(), "tls.key")); err != nil {
		return at, nil, err
	}
	if err := writeKubeconfig(f.kubeconfig(), config); err != nil {
		return at, nil, fmt.Errorf("writing how provider %s reaches the hub's API: %w", provider, err)
	}
	free, err := ports.Free(2)
	if err != nil {
		return at, nil, err
	}
	return start{kubeconfig: f.kubeconfig(), certs: f.certs(), webhookPort: free[0], healthPort: free[1]}, authority.CertPEM(), nil
}

// writeKubeconfig writes how the hub reaches its API: its providers do as the hub does.
func writeKubeconfig(path string, config *rest.Config) error {
	file := clientcmdapi.NewConfig()
	file.Clusters["hub"] = &clientcmdapi.Cluster{
		Server: config.Host, CertificateAuthority: config.CAFile, CertificateAuthorityData: config.CAData, TLSServerName: config.ServerName,
	}
	file.AuthInfos["hub"] = &clientcmdapi.AuthInfo{
		ClientCertificate: config.CertFile, ClientCertificateData: config.CertData, ClientKey: config.KeyFile, ClientKeyData: config.KeyData,
		Token: config.BearerToken, TokenFile: config.BearerTokenFile,
	}
	file.Contexts["hub"] = &clientcmdapi.Context{Cluster: "hub", AuthInfo: "hub"}
	file.CurrentContext = "hub"
	return clientcmd.WriteToFile(*file, path) // readable by its owner alone
}
