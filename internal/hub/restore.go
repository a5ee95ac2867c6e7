package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/backup"
	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/kube/pidlock"
	"umbel.dev/umbel/internal/kube/process"
	"umbel.dev/umbel/internal/metrics/rules"
)

// Restore makes the hub of a backup: on the Kubernetes that the options name, or in their data folder. It does not start it.
// Interrupted, it can be run again.
func Restore(ctx context.Context, o Options, archive *backup.Archive) error {
	if o.Kubeconfig != "" {
		config, err := o.existing()
		if err != nil {
			return err
		}
		return o.restoreInto(ctx, config, archive, nil)
	}
	return o.restoreFolder(ctx, archive)
}

// CheckFolder says whether a hub can be restored in a data folder.
func CheckFolder(home string) error {
	entries, err := os.ReadDir(Dir(home))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking into the data folder: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: a hub is or was there, and a restore overwrites nothing; move it away, or name another data folder with --home", Dir(home))
	}
	return nil
}

// restoreFolder makes a hub with an embedded API beside its place, and moves it there when it is whole: until then there is
// none, and what an earlier run left is thrown away.
func (o Options) restoreFolder(ctx context.Context, archive *backup.Archive) error {
	if err := CheckFolder(o.Home); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Home, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	held, err := pidlock.Hold(filepath.Join(o.Home, "restore.lock"))
	if err != nil {
		return fmt.Errorf("another restore runs in %s: %w", o.Home, err)
	}
	defer held.Close() //nolint:errcheck // it ends with the process at the latest
	beside := o
	beside.Home = filepath.Join(o.Home, "restoring")
	if err := os.RemoveAll(beside.Home); err != nil {
		return fmt.Errorf("throwing away what an earlier restore left: %w", err)
	}
	state, err := o.restoredState(archive)
	if err != nil {
		return err
	}
	if err := placeFiles(Dir(beside.Home), archive, state); err != nil {
		return err
	}
	err = beside.onOwnAPI(ctx, state, func(ctx context.Context, config *rest.Config, _ ...process.Process) error {
		registry, err := content.NewRegistry(content.RegistryConfig{Dir: filepath.Join(Dir(beside.Home), "registry"), Log: o.Log})
		if err != nil {
			return err
		}
		store, err := content.NewStore("http://hub", content.InProcess(registry))
		if err == nil {
			err = o.restoreInto(ctx, config, archive, func(ctx context.Context, repository string, raw []byte) error {
				_, err := store.Push(ctx, repository, bundle.MediaType, raw)
				return err
			})
		}
		return errors.Join(err, registry.Close())
	})
	if err == nil {
		err = ctx.Err() // an API that was ended is not one that was filled
	}
	if err != nil {
		return err
	}
	if err := os.Rename(Dir(beside.Home), Dir(o.Home)); err != nil {
		return fmt.Errorf("moving the hub to its place: %w", err)
	}
	return os.RemoveAll(beside.Home)
}

// restoreInto fills an API.
func (o Options) restoreInto(ctx context.Context, config *rest.Config, archive *backup.Archive, push func(context.Context, string, []byte) error) error {
	config.QPS = -1
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("reaching the API at %s: %w", config.Host, err)
	}
	if err := install(ctx, api); err != nil {
		return err
	}
	if archive.Manifest.Objects[backup.RulesKind] > 0 {
		if err := installShared(ctx, api, deploy.Monitoring, deploy.PrometheusRuleCRD, rules.List(), client.InNamespace(v1alpha1.SystemNamespace)); err != nil {
			return err
		}
	}
	return archive.Restore(ctx, backup.Target{Config: config, Mapper: api.RESTMapper(), Now: time.Now, Push: push})
}

// restoredState is that of the backup, for this machine: its members dial the same port, and the same address unless another
// is given.
func (o Options) restoredState(archive *backup.Archive) (State, error) {
	var state State
	raw, has := archive.Files[configFile]
	if !has {
		return state, errors.New("the backup is one of a hub on an existing Kubernetes: name one with --kubeconfig")
	}
	if err := json.Unmarshal(raw, &state); err != nil || state.GatewayPort == 0 {
		return state, fmt.Errorf("the backup's %s makes no sense", configFile)
	}
	for _, name := range keyFiles {
		if _, has := archive.Files[name]; !has {
			return state, fmt.Errorf("the backup lacks %s: it is one of a hub on an existing Kubernetes; name one with --kubeconfig", name)
		}
	}
	var err error
	if state.Ports, err = controlplane.FreePorts(); err != nil {
		return state, err
	}
	if o.Advertise != "" {
		state.Address = WithPort(o.Advertise, state.GatewayPort)
	}
	state.CAFile = caFile(o.Home)
	state.Authentication = ""
	if _, has := archive.Files[authenticationFile]; has {
		state.Authentication = filepath.Join(Dir(o.Home), authenticationFile)
	}
	return state, nil
}

// placeFiles writes what is not in the API. Whatever the archive calls its files: these alone are written.
func placeFiles(dir string, archive *backup.Archive, state State) error {
	raw, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return err
	}
	files := map[string][]byte{configFile: raw}
	for _, name := range append([]string{authenticationFile}, keyFiles...) {
		if content, has := archive.Files[name]; has {
			files[name] = content
		}
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("making the hub's folder: %w", err)
		}
		if err := renameio.WriteFile(path, content, 0o600); err != nil {
			return fmt.Errorf("writing what the hub keeps: %w", err)
		}
	}
	return nil
}
