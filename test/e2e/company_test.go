//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/identity/oidctest"
	"umbel.dev/umbel/test/rig"
)

// developer is somebody whom the company's identity provider knows, at a computer of her own.
type developer struct {
	*story
	provider *oidctest.Provider
	who      oidctest.Person
	own      *rig.Fleet
	door     hub.State
}

func (s *story) developer(provider *oidctest.Provider, who oidctest.Person) *developer {
	s.Helper()
	door, err := hub.ReadState(s.Home)
	if err != nil {
		s.Fatal(err)
	}
	return &developer{story: s, provider: provider, who: who, own: &rig.Fleet{Home: s.TempDir(), Log: s.Output()}, door: door}
}

// company is a day of a developer and of somebody who is in no group: they sign in with the company's provider, reach what
// their group may, and install a chart with Helm.
func company(provider *oidctest.Provider) func(*story) {
	return func(s *story) {
		alice, mallory := s.developer(provider, oidctest.Alice), s.developer(provider, oidctest.Mallory)
		s.umbel("kubectl", "prod-eu", "--", "create", "namespace", "developers")
		alice.signsIn()
		mallory.signsIn()
		alice.does("umbel whoami", "alice@example.com", "oidc:developers", "a token of "+provider.Issuer)
		alice.cannot("umbel get clusters", "forbidden", "alice@example.com")

		s.with("a Scope gives her group what it may, for as long as there is one", func(s *story) {
			a, m := *alice, *mallory
			a.story, m.story = s, s
			a.hasAScope(&m)
		})
		s.grantAsTheDocsSay()
		s.eventually("her group sees the clusters, and reaches them", func(ctx context.Context) error { // the hub keeps what it refused for a moment
			_, err := alice.own.Shell(ctx, alice.prelude()+"umbel get clusters; umbel kubectl prod-us -- auth whoami; umbel kubectl prod-eu -- -n kube-system get pods")
			return err
		})
		alice.does("umbel kubeconfig --clusters env=prod", "context/prod-eu created", "context/prod-us created")
		alice.does("k --context prod-eu auth whoami", "alice@example.com", "oidc:developers")
		alice.does("k --context prod-eu -n kube-system get pods", "coredns")
		alice.cannot("k --context prod-us get pods -A", `User "alice@example.com" cannot list resource "pods"`)
		mallory.does("umbel whoami", "mallory@example.com")
		mallory.cannot("umbel kubectl prod-eu -- get pods -A", "mallory@example.com")

		alice.installs()
		s.with("what she did is in both audit logs", func(s *story) {
			a := *alice
			a.story = s
			a.isAudited()
		})
		alice.does("umbel logout 2>&1", "context/prod-eu removed", "Signed out of")
		alice.cannot("k --context prod-eu get pods", "prod-eu")
	}
}

// prelude begins every line of shell at her computer: k is kubectl.
func (d *developer) prelude() string {
	return fmt.Sprintf(`cd '%[1]s'; export HOME='%[1]s' KUBECONFIG='%[1]s/kubeconfig' BROWSER=/nowhere/browser; unset UMBEL_KUBECONFIG
k() { umbel-kube kubectl "$@"; }; h() { helm --kube-context prod-eu -n developers "$@"; }
`, d.own.Home)
}

// does runs a line that has to succeed and to say the words.
func (d *developer) does(line string, words ...string) {
	d.Helper()
	out, err := d.own.Shell(d.ctx, d.prelude()+line)
	if err != nil {
		d.Fatal(err)
	}
	for _, word := range words {
		if !strings.Contains(out, word) {
			d.Errorf("%s does not say %q:\n%s", line, word, out)
		}
	}
}

// cannot runs a line that has to fail and to say why.
func (d *developer) cannot(line string, words ...string) {
	d.Helper()
	out, err := d.own.Shell(d.ctx, d.prelude()+line)
	if err == nil {
		d.Errorf("%s succeeded and should not have:\n%s", line, out)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			d.Errorf("%s does not say %q:\n%v", line, word, err)
		}
	}
}

// signsIn is `umbel login`, with somebody who opens the address that it shows in a browser.
func (d *developer) signsIn() {
	d.Helper()
	cmd := exec.CommandContext(d.ctx, "bash", "-e", "-c", d.prelude()+fmt.Sprintf("umbel login https://%s --ca '%s'", d.door.Address, d.door.CAFile))
	cmd.Env = append(os.Environ(), "UMBEL_HOME="+d.own.Home, "PATH="+filepath.Dir(rig.Binary("umbel"))+":"+os.Getenv("PATH"))
	shown, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		d.Fatal(err)
	}
	var browsing sync.WaitGroup
	var said strings.Builder
	for lines := bufio.NewScanner(shown); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if address := strings.TrimSpace(lines.Text()); strings.HasPrefix(address, d.provider.Issuer) {
			browsing.Go(func() {
				if text, at, err := d.provider.Browse(d.who, address); err != nil {
					d.Errorf("in the browser, at %s: %v\n%s", at, err, text)
				}
			})
		}
	}
	err = cmd.Wait()
	browsing.Wait()
	if err != nil || !strings.Contains(said.String(), "Signed in to https://"+d.door.Address+" as "+d.who.Email) {
		d.Fatalf("umbel login: %v\n%s", err, said.String())
	}
}

// hasAScope: what a Scope gives to her group she has on the clusters and in the namespaces that it names, and nobody else has it.
func (d *developer) hasAScope(other *developer) {
	d.Helper()
	d.umbel("kubectl", "prod-us", "--", "create", "namespace", "developers")
	d.umbel("label", "cluster", "prod-us", "team=developers")
	d.umbel("scope", "create", "developers", "--group", "oidc:developers", "--role", "edit", "--clusters", "team=developers", "--namespaces", "developers")
	d.eventually("her group may write there", func(ctx context.Context) error {
		_, err := d.own.Shell(ctx, d.prelude()+"umbel kubectl prod-us -- -n developers create configmap hers")
		return err
	})
	d.eventually("she sees the one cluster", func(ctx context.Context) error {
		out, err := d.own.Shell(ctx, d.prelude()+"umbel get clusters -o name")
		if got := strings.Join(strings.Fields(out), " "); err == nil && got != "membercluster.umbel.dev/prod-us" {
			err = fmt.Errorf("she sees %q", got)
		}
		return err
	})
	d.cannot("umbel kubectl prod-us -- -n kube-system get configmaps", `User "alice@example.com" cannot list resource "configmaps"`)
	d.cannot("umbel kubectl prod-eu -- -n developers get configmaps", `memberclusters.umbel.dev "prod-eu" is forbidden`, "alice@example.com")
	other.cannot("umbel kubectl prod-us -- -n developers get configmaps", "mallory@example.com")
	d.umbel("scope", "delete", "developers")
	d.umbel("label", "cluster", "prod-us", "team-")
	d.eventually("with the Scope it has gone", func(ctx context.Context) error {
		_, err := d.own.Shell(ctx, d.prelude()+"umbel kubectl prod-us -- -n developers get configmaps")
		if err == nil {
			return errors.New("she reads")
		}
		return says(err.Error(), `memberclusters.umbel.dev "prod-us" is forbidden`, "alice@example.com")
	})
}

// grantAsTheDocsSay gives her group what docs/operate/sign-in.md gives it: the first objects on the hub, the last on prod-eu.
func (s *story) grantAsTheDocsSay() {
	s.Helper()
	text, err := os.ReadFile(filepath.Join(rig.Root(), "docs", "operate", "sign-in.md"))
	if err != nil {
		s.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "```yaml\n# on the hub: developers")
	block, _, closed := strings.Cut(rest, "```")
	objects := strings.Split(block, "\n---\n")
	if !found || !closed || len(objects) != 3 {
		s.Fatal("docs/operate/sign-in.md has no block of three objects that begins with `# on the hub: developers`")
	}
	apply := " apply -f - <<'END'\n"
	s.shell(`umbel-kube kubectl --kubeconfig "$UMBEL_HOME/hub/admin.kubeconfig"` + apply + "#" + strings.Join(objects[:2], "\n---\n") + "\nEND")
	s.shell("umbel kubectl prod-eu --" + apply + objects[2] + "\nEND")
}

// installs is the life of a Helm release, through the hub and with its own waiting, and what she may in its pod.
func (d *developer) installs() {
	d.Helper()
	for name, content := range chart {
		path := filepath.Join(d.own.Home, "chart", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			d.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			d.Fatal(err)
		}
	}
	d.cannot("h install shop ./chart", `User "alice@example.com" cannot`, "secrets")
	d.umbel("kubectl", "prod-eu", "--", "-n", "developers", "create", "rolebinding", "developers", "--clusterrole=edit", "--group=oidc:developers")
	d.eventually("her group may install there", func(ctx context.Context) error { // the cluster's API server hears of it a moment later
		_, err := d.own.Shell(ctx, d.prelude()+"k --context prod-eu -n developers get secrets")
		return err
	})
	d.does("h install shop ./chart --wait --timeout 180s", "STATUS: deployed")
	d.does("h list -o json", `"name":"shop"`, `"revision":"1"`)
	d.does("h upgrade shop ./chart --set greeting=Hello --wait --timeout 180s", "REVISION: 2")
	d.does("k --context prod-eu -n developers get configmap shop -o 'jsonpath={.data.greeting}'", "Hello")
	d.does("h rollback shop 1 --wait --timeout 180s")
	d.does("k --context prod-eu -n developers get configmap shop -o 'jsonpath={.data.greeting}'", "Welcome")
	d.does("k --context prod-eu -n developers exec deploy/shop -- /umbel-coredns -version", "CoreDNS")
	d.cannot("k --context prod-eu -n kube-system exec deploy/coredns -- /umbel-coredns -version", `User "alice@example.com" cannot create resource "pods/exec"`)
	d.does("h uninstall shop --wait --timeout 180s", `release "shop" uninstalled`)
	d.cannot("h status shop", "not found")
}

// isAudited: the cluster's own log has her, by her name and in her groups, for the exec and for what Helm did; the hub's has
// the same requests.
func (d *developer) isAudited() {
	d.Helper()
	onMember := d.impersonated("prod-eu")
	for _, want := range []struct{ verb, object string }{{"", "pods/exec/"}, {"delete", "deployments/shop"}, {"patch", "configmaps/shop"}} {
		found := 0
		for _, e := range d.events(d.umbel("audit", "--user", d.who.Email, "--cluster", "prod-eu", "--since", "1h", "-o", "json")) {
			there, linked := onMember[string(e.AuditID)]
			if !linked || !strings.HasPrefix(objectOf(e), want.object) || want.verb != "" && e.Verb != want.verb {
				continue
			}
			found++
			if who := there.ImpersonatedUser; who.Username != d.who.Email || !strings.Contains(strings.Join(who.Groups, " "), "oidc:developers") {
				d.Errorf("%s %s: the cluster has %+v", want.verb, want.object, who)
			}
		}
		if found == 0 {
			d.Errorf("%s %s by %s is not in both logs", want.verb, want.object, d.who.Email)
		}
	}
}

// chart is a small one: a server with its configuration.
var chart = map[string]string{
	"Chart.yaml":  "apiVersion: v2\nname: shop\nversion: 0.1.0\n",
	"values.yaml": "greeting: Welcome\n",
	"templates/server.yaml": `apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}"}
data:
  greeting: {{ .Values.greeting | quote }}
  Corefile: ".:1053 {\n  health :8080\n}\n"
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}"}
spec:
  selector: {matchLabels: {app: "{{ .Release.Name }}"}}
  template:
    metadata:
      labels: {app: "{{ .Release.Name }}"}
      annotations: {greeting: {{ .Values.greeting | quote }}}
    spec:
      terminationGracePeriodSeconds: 1
      automountServiceAccountToken: false
      containers:
      - name: server
        image: registry.umbel.dev/coredns:v1
        imagePullPolicy: Never
        args: [-conf, /etc/words/Corefile]
        volumeMounts:
        - {name: words, mountPath: /etc/words, readOnly: true}
      volumes:
      - {name: words, configMap: {name: "{{ .Release.Name }}"}}
`,
}
