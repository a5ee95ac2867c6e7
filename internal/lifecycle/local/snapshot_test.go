package local

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/kube/process"
	"umbel.dev/umbel/internal/lifecycle/local/network"
	"umbel.dev/umbel/internal/lifecycle/local/quorum"
)

// takenOf returns a snapshot of a control plane in which somebody has written so many objects.
func takenOf(t *testing.T, objects int) string {
	t.Helper()
	kube, err := kubetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	ports, err := controlplane.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	plane, err := controlplane.New(controlplane.Config{
		Name: "origin", Dir: t.TempDir(), Binary: kube, Address: loopback, Ports: ports, ServiceCIDR: netip.MustParsePrefix("10.129.0.0/16"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := plane.Prepare(); err != nil {
		t.Fatal(err)
	}
	supervisor, err := process.New(process.Config{Processes: plane.Processes(), LogDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	ended := make(chan error, 1)
	go func() { ended <- supervisor.Run(ctx) }()
	defer func() { stop(); <-ended }()
	if err := supervisor.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	config, err := plane.BootstrapConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for { // it makes this namespace when it serves already
		_, err := client.CoreV1().Namespaces().Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for i := range objects {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("kept-", i)}}
		if _, err := client.CoreV1().ConfigMaps("default").Create(ctx, object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "snapshot.db")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tls, err := plane.EtcdTLS()
	if err != nil {
		t.Fatal(err)
	}
	if err := quorum.Snapshot(ctx, plane.EtcdURL(), tls, file); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRehearsal: a snapshot is restored beside everything else and counted, and nothing is left of that, also when it fails.
func TestRehearsal(t *testing.T) {
	l := newLocal(t)
	kube, err := kubetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	l.needs.Binaries.Kube = kube
	versions, err := l.Versions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	version := versions[len(versions)-1]
	// The count of objects is not theirs alone: namespaces, roles and more come with an API.
	few, more := takenOf(t, 0), takenOf(t, 250)
	count := func(file string) Found {
		found, err := l.Rehearse(t.Context(), Rehearsal{Name: "default-dev", File: file, Version: version, Services: "10.129.0.0/16"})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	a, b := count(few), count(more)
	if b.Objects-a.Objects < 245 || b.Objects-a.Objects > 260 || a.Namespaces < 1 || a.Took <= 0 {
		t.Errorf("of 250 objects more, it found %+v and %+v", a, b)
	}
	bad := filepath.Join(t.TempDir(), "bad.db")
	if err := os.WriteFile(bad, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Rehearse(t.Context(), Rehearsal{Name: "default-dev", File: bad, Version: version, Services: "10.129.0.0/16"}); err == nil {
		t.Error("what is no database was restored")
	}
	if _, err := l.Rehearse(t.Context(), Rehearsal{Name: "default-dev", File: few, Version: "v1.2.3", Services: "10.129.0.0/16"}); err == nil || !strings.Contains(err.Error(), "v1.2.3") {
		t.Errorf("of a version that is not there: %v", err)
	}
	if left, _ := os.ReadDir(l.root()); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestScratchIsEmpty also when somebody was killed who had it before.
func TestScratchIsEmpty(t *testing.T) {
	l := newLocal(t)
	dir, _, err := l.Scratch("backup-a")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "half"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again, done, err := l.Scratch("backup-a")
	if left, _ := os.ReadDir(again); err != nil || again != dir || len(left) > 0 {
		t.Errorf("it has %v (%v)", left, err)
	}
	if err := done(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(dir)); !os.IsNotExist(err) {
		t.Errorf("it is there still: %v", err)
	}
}

// TestACopyHasTheServicesOfItsOrigin beside that, and the pods of nobody.
func TestACopyHasTheServicesOfItsOrigin(t *testing.T) {
	fleet := network.Fleet(3)
	origin := record{Name: "dev", Owner: "default/dev", Index: 1, Fleet: &fleet}
	plain := record{Name: "copy", Owner: "default/copy", Fleet: &fleet, Ranges: Ranges{Services: origin.services()}}
	if _, err := freeIndex(plain, []record{origin}); err == nil || !strings.Contains(err.Error(), "overlaps") {
		t.Errorf("one that is no copy: %v", err)
	}
	plain.Copied = true
	index, err := freeIndex(plain, []record{origin})
	if diff := cmp.Diff(2, index); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	plain.Ranges.Pods = origin.pods()
	if _, err := freeIndex(plain, []record{origin}); err == nil || !strings.Contains(err.Error(), "the pods") {
		t.Errorf("a copy with its pods: %v", err)
	}
}

// TestACutRestoreIsGoneOnWith: whoever restores is killed at each step after the members had to end, and the next one ends it.
func TestACutRestoreIsGoneOnWith(t *testing.T) {
	fleet := network.Fleet(3)
	for name, cut := range map[string]func(kube string){
		"nothing moved yet":    func(string) {},
		"the old one is aside": func(kube string) { rename(t, filepath.Join(kube, "etcd"), filepath.Join(kube, "etcd.before")) },
		"all is in its place": func(kube string) {
			rename(t, filepath.Join(kube, "etcd"), filepath.Join(kube, "etcd.before"))
			rename(t, filepath.Join(kube, "etcd.restored"), filepath.Join(kube, "etcd"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLocal(t)
			h := Hosted{Name: "dev", Owner: "default/dev"}
			r := record{Name: "dev", Owner: h.Owner, Index: 1, Fleet: &fleet, Restoring: "dev/20261127-060000@1", Planes: 3}
			second := r.planePlace(l.dir("dev"), 1)
			kube := filepath.Join(l.dir("dev"), "kube")
			for _, dir := range []string{filepath.Join(kube, "etcd"), filepath.Join(kube, "etcd.restored"), filepath.Join(second.dir, "kube", "etcd")} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "is"), []byte(filepath.Base(dir)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.save(r); err != nil {
				t.Fatal(err)
			}
			cut(kube)
			for range 2 {
				var err error
				if r, err = l.finishRestore(t.Context(), h, r); err != nil {
					t.Fatal(err)
				}
			}
			if r.Restoring != "" || r.Restored != "dev/20261127-060000@1" || !r.Begun {
				t.Errorf("it is remembered as %+v", r)
			}
			is, err := os.ReadFile(filepath.Join(kube, "etcd", "is"))
			before, beforeErr := os.ReadFile(filepath.Join(kube, "etcd.before", "is"))
			if string(is) != "etcd.restored" || string(before) != "etcd" || err != nil || beforeErr != nil {
				t.Errorf("it holds %s, and before %s (%v, %v)", is, before, err, beforeErr)
			}
			if isThere(filepath.Join(second.dir, "kube", "etcd")) {
				t.Error("another member has its data still: it would be taken for one of the restored")
			}
		})
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
