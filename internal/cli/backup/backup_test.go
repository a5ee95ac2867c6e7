package backup_test

import (
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"umbel.dev/umbel/internal/cli/backup"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/output"
)

// TestTheFolderHasToBeThere: the error names the folder of the file, and no file that nobody has asked for. No hub is asked.
func TestTheFolderHasToBeThere(t *testing.T) {
	dir := t.TempDir()
	hub := clientcmdapi.NewConfig()
	hub.Clusters["hub"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:1"}
	hub.Contexts["hub"] = &clientcmdapi.Context{Cluster: "hub"}
	hub.CurrentContext = "hub"
	f := client.New(output.Streams{})
	f.Home, f.Kubeconfig = dir, filepath.Join(dir, "kubeconfig")
	if err := clientcmd.WriteToFile(*hub, f.Kubeconfig); err != nil {
		t.Fatal(err)
	}
	cmd := backup.NewCmd(f)
	file := filepath.Join(dir, "nowhere", "hub.backup")
	cmd.SetArgs([]string{file})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(t.Context())
	if want := "writing the backup " + file + ": there is no folder " + filepath.Dir(file); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
