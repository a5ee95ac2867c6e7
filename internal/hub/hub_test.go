package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

// TestAHubOnAnExistingAPI is the list from its first part to its last: the kinds are there, members can learn how the
// hub is reached, a controller is at work, and the hub ends without a complaint.
func TestAHubOnAnExistingAPI(t *testing.T) {
	config := kubetest.Start(t)
	programs := t.TempDir()
	kube, err := kubetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	small := filepath.Join(filepath.Dir(kube), "umbel-pause") // any program that is linked statically can be an image
	if err := os.Symlink(small, filepath.Join(programs, "umbel-agent")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{
			Home: t.TempDir(), Kubeconfig: kubetest.Kubeconfig(t, config), Programs: programs, CertificateLife: time.Hour,
			Listen: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Log: slog.New(slog.DiscardHandler),
		})
	}()
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	eventually := func(what string, check func(context.Context) error) {
		t.Helper()
		var last error
		err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
			select {
			case err := <-ended:
				return false, fmt.Errorf("the hub ended: %w", err)
			default:
				last = check(ctx)
				return last == nil, nil
			}
		})
		if err != nil {
			t.Fatalf("%s: %v (last: %v)", what, err, last)
		}
	}
	var info corev1.ConfigMap
	eventually("how members reach the hub", func(ctx context.Context) error {
		return api.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, &info)
	})
	if got := info.Data[v1alpha1.HubInfoAgentImage]; !strings.HasPrefix(got, info.Data[v1alpha1.HubInfoAddress]+"/umbel/agent:") {
		t.Errorf("the agent's image is %q", got)
	}
	placement := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p"}}
	if err := api.Create(t.Context(), placement); err != nil {
		t.Fatal(err)
	}
	eventually("a decision", func(ctx context.Context) error {
		if err := api.Get(ctx, client.ObjectKeyFromObject(placement), placement); err != nil {
			return err
		}
		if placement.Status.ObservedGeneration == 0 {
			return errors.New("not decided")
		}
		return nil
	})
	eventually("its sign of life", func(ctx context.Context) error {
		return api.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubLease}, &coordinationv1.Lease{})
	})
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the hub ended with %v", err)
	}
}

// TestTheStateStays: members and users know a hub by its addresses.
func TestTheStateStays(t *testing.T) {
	home := t.TempDir()
	load := func(advertise string) State {
		t.Helper()
		s, err := LoadState(home, Changes{Address: advertise})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := load("")
	if diff := cmp.Diff(first, load("")); diff != "" {
		t.Errorf("it changed (-first +again):\n%s", diff)
	}
	port := fmt.Sprintf(":%d", first.GatewayPort)
	for _, c := range []struct{ reason, advertise, want string }{
		{"none was ever given", "", "127.0.0.1" + port},
		{"one is given", "192.0.2.10", "192.0.2.10" + port},
		{"none is given again", "", "192.0.2.10" + port},
		{"an address of IPv6", "2001:db8::1", "[2001:db8::1]" + port},
		{"a name, and the port of what is in front", "hub.example.com:443", "hub.example.com:443"},
		{"none is given, a third time", "", "hub.example.com:443"},
	} {
		if got := load(c.advertise).Address; got != c.want {
			t.Errorf("%s: members dial %s, want %s", c.reason, got, c.want)
		}
	}
	for _, c := range []struct {
		reason string
		change *string
		want   string
	}{
		{"a file is given", new("/etc/umbel/authentication.yaml"), "/etc/umbel/authentication.yaml"},
		{"none is given again", nil, "/etc/umbel/authentication.yaml"},
		{"none any more", new(""), ""},
	} {
		if got, err := LoadState(home, Changes{Authentication: c.change}); err != nil || got.Authentication != c.want {
			t.Errorf("%s: people sign in by %q (%v), want %q", c.reason, got.Authentication, err, c.want)
		}
	}
	path := filepath.Join(Dir(home), "config.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadState(home, Changes{}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("damaged: got %v, want an error that names the file", err)
	}
}
