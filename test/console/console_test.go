//go:build e2e

package console

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/internal/identity/oidctest"
	"umbel.dev/umbel/internal/programtest"
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

// wasReady waits until the hub has written down, among its metrics, that a cluster was ready: it does so every half minute.
func (f *fleet) wasReady(cluster string) {
	f.Helper()
	ask := f.hub + "/api/v1/query?" + url.Values{"query": {fmt.Sprintf("max_over_time(umbel_cluster_ready{cluster=%q}[10m]) == 1", cluster)}}.Encode()
	hub := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // as the browser of the stories
	defer hub.CloseIdleConnections()
	err := rig.Eventually(f.Context(), 2*time.Minute, func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, ask, nil)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+f.token)
		answer, err := hub.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		raw, err := io.ReadAll(answer.Body)
		if err == nil && !strings.Contains(string(raw), `"value":`) {
			err = fmt.Errorf("it says %s %s", answer.Status, raw)
		}
		return err
	})
	if err != nil {
		f.Fatalf("that %s was ready is not written down: %v", cluster, err)
	}
}

// strategy has the package shop go to dev at once, and to prod when somebody has approved it.
const strategy = `{"spec":{"rollout":{"stages":[{"name":"dev","clusterSelector":{"matchLabels":{"env":"dev"}}},` +
	`{"name":"prod","clusterSelector":{"matchLabels":{"env":"prod"}},"approvals":["Before"],"maxUnavailable":1}]}}}`

// watched is a rule that alerts of clusters with one node, and what things cost.
const watched = `apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: spare, namespace: umbel-system}
spec:
  groups:
  - name: spare
    interval: 5s
    rules:
    - alert: NothingToSpare
      expr: count by (cluster) (kube_node_status_allocatable{resource="cpu"}) < 2
      labels: {severity: warning, team: platform}
      annotations:
        summary: 'Cluster {{ $labels.cluster }} has {{ $value }} node: nothing takes over for it.'
        command: 'umbel describe cluster {{ $labels.cluster }}'
        runbook_url: https://runbooks.example.com/spare
---
apiVersion: v1
kind: ConfigMap
metadata: {name: umbel-prices, namespace: umbel-system}
data:
  prices.yaml: "{currency: EUR, prices: [{clusterSelector: {}, cpuHour: 0.03, memoryGiBHour: 0.004}]}"
`

// support gives bob a role on two clusters, and onlooker lets them look at clusters on the hub.
const support = `apiVersion: umbel.dev/v1alpha1
kind: Scope
metadata: {name: support}
spec:
  users: ["system:serviceaccount:default:bob"]
  role: view
  clusterSelector: {matchLabels: {env: prod}}
  namespaces: [shop]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: onlooker}
rules:
- {apiGroups: [umbel.dev], resources: [memberclusters], verbs: [get, list, watch]}
`

// hostPod is a pod with this computer's own shell, in a namespace that is called as a subresource is. It serves a page that would do as if it were the hub's.
func hostPod() string {
	var mounts, volumes strings.Builder
	for i, dir := range []string{"/usr", "/bin", "/lib", "/lib64"} {
		if _, err := os.Stat(dir); err == nil {
			fmt.Fprintf(&mounts, "    - {name: host%d, mountPath: %s, readOnly: true}\n", i, dir)
			fmt.Fprintf(&volumes, "  - {name: host%d, hostPath: {path: %s}}\n", i, dir)
		}
	}
	return `apiVersion: v1
kind: Namespace
metadata: {name: proxy}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: page, namespace: proxy}
data:
  index.html: |
    <!doctype html><title>of a pod</title><p>Served by a pod</p>
    <script>document.title = 'ran'; fetch('/console/api/me').then(() => { document.title = 'asked' })</script>
  serve.pl: |
    use IO::Socket::INET;
    my $page = do { local $/; open my $file, '<', '/page/index.html'; <$file> };
    my $door = IO::Socket::INET->new(LocalPort => 8080, Listen => 5, ReuseAddr => 1) or die;
    $| = 1; print "The page is served.\n";
    while (my $one = $door->accept) {
      while (<$one>) { last if /^\r?$/ }
      print $one "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: of=a-pod\r\n\r\n$page";
      close $one;
    }
---
apiVersion: v1
kind: Pod
metadata: {name: shell, namespace: proxy}
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  containers:
  - name: bash
    image: registry.umbel.dev/coredns:v1
    imagePullPolicy: Never
    command: [/usr/bin/perl, /page/serve.pl]
    env: [{name: PATH, value: "/usr/bin:/bin"}]
    volumeMounts:
    - {name: page, mountPath: /page}
` + mounts.String() + `  volumes:
  - {name: page, configMap: {name: page}}
` + volumes.String()
}

// TestConsole: somebody looks after a fleet in a browser. Agents measure, a release waits for their word and so do deletes, something drifted, and
// a pod serves a page. Somebody else may little. Then somebody signs in at their company's provider.
func TestConsole(t *testing.T) {
	f := newFleet(t)
	hub := `K="umbel-kube kubectl --kubeconfig $UMBEL_HOME/hub/admin.kubeconfig"; `
	for _, cluster := range []string{"dev", "prod-eu", "prod-us"} {
		f.does(hub + "$K patch membercluster " + cluster + ` --type merge -p '{"spec":{"metrics":{"profile":"Standard"}}}'`)
	}
	f.does(hub + "$K patch packages.umbel.dev shop --type merge -p '" + strategy + "'")
	f.does(hub + `$K patch packages.umbel.dev baseline --type merge -p '{"spec":{"deletes":{"budget":0}}}'`)
	f.does(hub + "$K apply -f - <<'X'\n" + watched + "X\n")
	f.does("umbel kubectl prod-eu -- apply -f - <<'X'\n" + hostPod() + "X\n")
	f.does(hub + "$K wait rollouts.umbel.dev shop-1 --for=create --timeout=180s; $K wait rollouts.umbel.dev shop-1 --for=jsonpath={.status.phase}=Completed --timeout=180s")
	f.wasReady("prod-us")
	f.does(`umbel kubectl dev -- -n shop patch configmap storefront --type merge -p '{"data":{"currency":"USD"}}'`)
	f.does(`sed -i "s/greeting: .*/greeting: Good day/" "$UMBEL_HOME/fleet/shop/storefront.yaml"; git -C "$UMBEL_HOME/fleet" rm -q baseline/access.yaml`)
	if err := f.Git(t.Context(), "commit -qam 'Greet anew'"); err != nil {
		t.Fatal(err)
	}
	f.does("umbel refresh package shop; umbel refresh package baseline")
	f.does(hub + "$K wait rollouts.umbel.dev shop-2 --for=create --timeout=180s")
	f.does(hub + `$K wait rollouts.umbel.dev shop-2 --for='jsonpath={.status.conditions[?(@.type=="Progressing")].reason}=AwaitingApproval' --timeout=180s`)
	f.tells("work")
	f.tells("write", "APISERVER="+f.apiServer("dev"))
	f.does(hub + "$K apply -f - <<'X'\n" + support + "X\n$K -n default create serviceaccount bob; $K create clusterrolebinding bob --clusterrole=onlooker --serviceaccount=default:bob")
	f.tells("story")
	_, way, err := net.SplitHostPort(programtest.FreeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	f.tells("bob", "WAY="+way, "BOB="+strings.TrimSpace(f.does(hub+"$K -n default create token bob")))
	f.tells("sandbox", f.certificate()...)

	provider := oidctest.StartFor(t, f.hub+"/console/callback")
	f.does("umbel up --example none --authentication-config " + provider.WriteConfiguration())
	f.does(hub + "$K create clusterrolebinding developers --clusterrole=cluster-admin --group=oidc:" + oidctest.Alice.Groups[0])
	f.tells("provider", "EMAIL="+oidctest.Alice.Email, "PASSWORD="+oidctest.Alice.Password, "ISSUER="+provider.Issuer)
}

// apiServer is the process id of a cluster's API server.
func (f *fleet) apiServer(cluster string) string {
	f.Helper()
	var found []int
	err := rig.Eventually(f.Context(), time.Minute, func(context.Context) (err error) { // what it starts looks like it for a moment
		if found, err = f.Processes("umbel-kube kube-apiserver ", filepath.Join(f.Home, "local", cluster)+"/"); err == nil && len(found) != 1 {
			err = fmt.Errorf("it runs as %v", found)
		}
		return err
	})
	if err != nil {
		f.Fatalf("the API server of %s: %v", cluster, err)
	}
	return strconv.Itoa(found[0])
}

// certificate is what a browser needs to be known by the certificate of the hub's administrator.
func (f *fleet) certificate() []string {
	f.Helper()
	dir := f.TempDir()
	for file, field := range map[string]string{"crt": "client-certificate-data", "key": "client-key-data"} {
		f.does(`umbel-kube kubectl --kubeconfig "$UMBEL_HOME/hub/admin.kubeconfig" config view --raw -o 'jsonpath={.users[0].user.` + field + `}' | base64 -d > ` + filepath.Join(dir, file))
	}
	return []string{"CERT=" + filepath.Join(dir, "crt"), "KEY=" + filepath.Join(dir, "key")}
}
