//go:build e2e

package console

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/test/rig"
)

// fleet is a hub with three clusters, as `umbel up` makes them, and who looks after it.
type fleet struct {
	*testing.T
	*rig.Fleet
	hub, token string
}

// newFleet starts a fleet, and gives somebody all rights on it: the clusters' own administrators are the hub's.
func newFleet(t *testing.T, flags ...string) *fleet {
	t.Helper()
	f := &fleet{T: t, Fleet: &rig.Fleet{Home: t.TempDir(), Log: t.Output()}}
	t.Cleanup(func() {
		if _, err := f.Umbel(context.WithoutCancel(t.Context()), "down"); err != nil {
			t.Errorf("umbel down: %v", err)
		}
	})
	f.does("umbel up " + strings.Join(flags, " "))
	f.does(`K="umbel-kube kubectl --kubeconfig $UMBEL_HOME/hub/admin.kubeconfig"
$K -n default create serviceaccount ada
$K create clusterrolebinding ada --clusterrole=cluster-admin --serviceaccount=default:ada`)
	for _, cluster := range []string{"dev", "prod-eu", "prod-us"} {
		f.does("umbel kubectl " + cluster + " -- create clusterrolebinding ada --clusterrole=cluster-admin --user=hub:system:serviceaccount:default:ada")
	}
	f.token = strings.TrimSpace(f.does(`umbel-kube kubectl --kubeconfig "$UMBEL_HOME/hub/admin.kubeconfig" -n default create token ada --duration 2h`))
	f.hub = "https://" + f.address()
	return f
}

// does runs a line of shell that has to succeed, and returns what it printed.
func (f *fleet) does(line string) string {
	f.Helper()
	out, err := f.Shell(f.Context(), line)
	if err != nil {
		f.Fatal(err)
	}
	return out
}

// address is where the gateway is on loopback.
func (f *fleet) address() string {
	f.Helper()
	said := f.does(`umbel-kube kubectl --kubeconfig "$UMBEL_HOME/hub/admin.kubeconfig" -n umbel-system get configmap hub-info -o 'jsonpath={.data.address}'`)
	_, port, found := strings.Cut(strings.TrimSpace(said), ":")
	if !found {
		f.Fatalf("the hub's address is %q", said)
	}
	return "127.0.0.1:" + port
}

// tells has a story of console/test told in a browser.
func (f *fleet) tells(story string, env ...string) {
	f.Helper()
	cmd := exec.CommandContext(f.Context(), "node", filepath.Join("test", story+".mjs"))
	cmd.Dir = filepath.Join(rig.Root(), "console")
	cmd.Env = append(append(os.Environ(), "HUB="+f.hub, "TOKEN="+f.token, "PHOTOS="+os.Getenv("CONSOLE_PHOTOS")), env...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	f.Logf("%s (%s):\n%s", story, time.Since(began).Round(time.Second), out)
	if err != nil {
		f.Fatal(fmt.Errorf("story %s: %w", story, err))
	}
}

// strategy has the package shop go to dev at once, and to prod when somebody has approved it.
const strategy = `{"spec":{"rollout":{"stages":[{"name":"dev","clusterSelector":{"matchLabels":{"env":"dev"}}},` +
	`{"name":"prod","clusterSelector":{"matchLabels":{"env":"prod"}},"approvals":["Before"],"maxUnavailable":1}]}}}`

// TestConsole: somebody looks after a fleet in a browser. A release waits for their word, and agents measure.
func TestConsole(t *testing.T) {
	f := newFleet(t)
	hub := `K="umbel-kube kubectl --kubeconfig $UMBEL_HOME/hub/admin.kubeconfig"; `
	for _, cluster := range []string{"dev", "prod-eu", "prod-us"} {
		f.does(hub + "$K patch membercluster " + cluster + ` --type merge -p '{"spec":{"metrics":{"profile":"Standard"}}}'`)
	}
	f.does(hub + "$K patch packages.umbel.dev shop --type merge -p '" + strategy + "'")
	f.does(hub + "$K wait rollouts.umbel.dev shop-1 --for=create --timeout=60s; $K wait rollouts.umbel.dev shop-1 --for=jsonpath={.status.phase}=Completed --timeout=60s")
	f.does(`sed -i "s/greeting: .*/greeting: Good day/" "$UMBEL_HOME/fleet/shop/storefront.yaml"`)
	if err := f.Git(t.Context(), "commit -qam 'Greet anew'"); err != nil {
		t.Fatal(err)
	}
	f.does("umbel refresh package shop")
	f.does(hub + "$K wait rollouts.umbel.dev shop-2 --for=create --timeout=60s")
	f.tells("story")
}
