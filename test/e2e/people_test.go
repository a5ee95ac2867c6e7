//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// ada is a person who may reach one cluster and work in one namespace of it.
type ada struct {
	*story
	dir string // her kubeconfigs: of the hub, and of the fleet
}

// people is a day of Ada's with kubectl, through the hub.
func people(s *story) {
	a := &ada{story: s, dir: s.TempDir()}
	a.isKnown()
	s.shell(fmt.Sprintf(`umbel kubeconfig --kubeconfig '%s/hub' --clusters env=prod --output '%s/fleet'`, a.dir, a.dir))
	s.with("top where nothing is measured", func(s *story) {
		s.refused([]string{"kubectl", "prod-eu", "--", "-n", "people", "top", "pods"}, "Metrics API not available")
	})
	s.measures("prod-eu")
	s.umbel("kubectl", "prod-eu", "--", "-n", "people", "create", "rolebinding", "ada-measures", "--clusterrole=metrics-reader", "--user=hub:system:serviceaccount:default:ada")
	for _, step := range a.verbs() {
		s.with(step.verb, func(s *story) {
			out, err := s.Shell(s.ctx, a.prelude()+step.line)
			if err != nil {
				s.Fatal(err)
			}
			if !strings.Contains(out, step.want) {
				s.Errorf("got %q, want one with %q", out, step.want)
			}
		})
	}
	s.with("one table of two clusters", func(s *story) {
		out := s.umbel("get", "roles", "-A", "--clusters", "env=prod")
		for _, want := range []string{"CLUSTER ", "prod-eu   shop ", "prod-us   shop "} {
			if !strings.Contains(out, want) {
				s.Errorf("got no %q in:\n%s", want, out)
			}
		}
		s.refused([]string{"get", "configmaps", "-n", "people", "--all-clusters", "--kubeconfig", filepath.Join(a.dir, "hub")},
			"prod-eu   words", `cluster "dev": user "system:serviceaccount:default:ada" may not reach cluster "dev"`, "2 of 3 clusters could not be read")
	})
	s.with("what she may not do, said by client-go", a.isRefused)
	s.with("what she did is in both audit logs", a.isAudited)
}

// isKnown makes Ada: a ServiceAccount of the hub who may reach prod-eu, and work there in the namespace people.
func (a *ada) isKnown() {
	a.Helper()
	a.onHub("-n default create serviceaccount ada")
	a.onHub("create clusterrole ada-sees --verb=get,list --resource=memberclusters.umbel.dev")
	a.onHub("create clusterrole ada-reaches --verb=proxy --resource=memberclusters.umbel.dev --resource-name=prod-eu")
	a.onHub("-n umbel-system create role ada-finds --verb=get --resource=configmaps --resource-name=hub-info")
	a.onHub("create clusterrolebinding ada-sees --clusterrole=ada-sees --serviceaccount=default:ada")
	a.onHub("create clusterrolebinding ada-reaches --clusterrole=ada-reaches --serviceaccount=default:ada")
	a.onHub("-n umbel-system create rolebinding ada-finds --role=ada-finds --serviceaccount=default:ada")
	a.umbel("kubectl", "prod-eu", "--", "create", "namespace", "people")
	a.umbel("kubectl", "prod-eu", "--", "-n", "people", "create", "role", "ada", "--verb=*", "--resource=pods,pods/log,pods/exec,pods/attach,pods/portforward,pods/ephemeralcontainers,configmaps")
	a.umbel("kubectl", "prod-eu", "--", "-n", "people", "create", "rolebinding", "ada", "--role=ada", "--user=hub:system:serviceaccount:default:ada")
	a.eventually("her namespace may have pods", func(ctx context.Context) error { // its ServiceAccount comes after the Namespace
		_, err := a.Umbel(ctx, "kubectl", "prod-eu", "--", "-n", "people", "get", "serviceaccount", "default")
		return err
	})

	token := a.shell(`umbel-kube kubectl --kubeconfig "$UMBEL_HOME/hub/admin.kubeconfig" -n default create token ada`)
	hub, err := clientcmd.LoadFromFile(filepath.Join(a.Home, "hub", "admin.kubeconfig"))
	if err == nil {
		hub.AuthInfos[hub.Contexts[hub.CurrentContext].AuthInfo] = &clientcmdapi.AuthInfo{Token: strings.TrimSpace(token)}
		err = clientcmd.WriteToFile(*hub, filepath.Join(a.dir, "hub"))
	}
	for name, text := range map[string]string{"pod.yaml": shellPod()} {
		if err == nil {
			err = os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600)
		}
	}
	if err != nil {
		a.Fatal(err)
	}
}

// prelude begins every line of shell: $K is her kubectl, first prints the first line of a command that holds a word, and
// leaves the command; until_so tries for a minute; ask speaks HTTP to a port of this computer.
func (a *ada) prelude() string {
	return fmt.Sprintf(`cd '%s'; K='umbel-kube kubectl --kubeconfig %s/fleet --context prod-eu -n people'
first() { word=$1; shift; grep -m1 "$word" < <(timeout 30 "$@" 2>&1); }
until_so() { for i in $(seq 600); do if "$@"; then return; fi; sleep 0.1; done; return 1; }
ask() { exec 3<>"/dev/tcp/127.0.0.1/$1"; printf 'GET %%s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&3; cat <&3; }
`, a.dir, a.dir)
}

// verb is one of kubectl's, in a line of shell, and what the output has to hold.
type verb struct{ verb, line, want string }

func (a *ada) verbs() []verb {
	const spdy = "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false KUBECTL_PORT_FORWARD_WEBSOCKETS=false "
	forward := "rm -f forward; timeout 120 $K port-forward pod/shell :8080 > forward 2>&1 & trap \"kill $!\" EXIT; " +
		"until_so grep -qs -- '->' forward; ask $(sed -n 's/.*127.0.0.1:\\([0-9]*\\) ->.*/\\1/p' forward) /health"
	const logs = "L='umbel logs shell -n people -c bash --clusters env=prod,region=eu --kubeconfig hub'; "
	return []verb{
		{"auth whoami", "$K auth whoami", "hub:system:serviceaccount:default:ada"},
		{"apply", "$K apply -f pod.yaml", "pod/shell created"},
		{"wait", "$K wait --for=condition=Ready pod/shell --timeout=180s", "condition met"},
		{"get", "$K get pods", "shell"},
		{"watch", `$K patch configmap words --type=merge -p '{"data":{"w":"two"}}'; first two $K get configmap words -w -o 'jsonpath={.data.w}{"\n"}'`, "two"},
		{"logs -f", "first begun $K logs -f shell -c bash", "begun"},
		{"umbel logs --since", logs + `$L | grep begun; at=$(date +%s); $K exec shell -c bash -- bash -c 'sleep 15; echo lately > /proc/1/fd/1'; $L --since $(($(date +%s) - at))s > late; if grep begun late; then exit 1; fi; cat late`, "lately"},
		{"umbel logs -f", logs + `$L -f > followed 2>&1 & trap "kill $!" EXIT; until_so grep lately followed; $K exec shell -c bash -- bash -c 'echo later > /proc/1/fd/1'; until_so grep later followed`, "later"},
		{"exec", "echo ping | $K exec -i shell -c bash -- cat", "ping"},
		{"exec -it", `script -qec "$K exec -it shell -c bash -- tty" /dev/null < /dev/null`, "/dev/pts/"},
		{"exec over SPDY", "echo ping | " + spdy + "$K exec -i shell -c bash -- cat", "ping"},
		{"exec's exit code", "code=0; $K exec shell -c bash -- bash -c 'exit 7' || code=$?; echo $code", "7"},
		{"attach", "first 'heard hello' $K attach -i shell -c bash < <(exec 2>/dev/null; echo hello; exec sleep 30)", "heard hello"},
		{"cp", "head -c 3000000 /dev/urandom > file; $K cp file shell:/tmp/file -c bash; $K cp shell:/tmp/file back -c bash; cmp file back && echo same", "same"},
		{"port-forward", forward, "200 OK"},
		{"port-forward over SPDY", "export " + spdy + "; " + forward, "200 OK"},
		{"proxy", "timeout 120 $K proxy --port=0 > proxy & trap \"kill $!\" EXIT; until_so grep -q : proxy; " +
			"ask $(sed 's/.*://' proxy) /api/v1/namespaces/people/pods/shell", "200 OK"},
		{"debug", "$K debug shell --image=registry.umbel.dev/coredns:v1 --image-pull-policy=Never -c debugger --profile=general -- /umbel-coredns -version; " +
			"until_so first CoreDNS $K logs shell -c debugger", "CoreDNS"},
		{"top", "D=\"umbel-kube kubectl --kubeconfig $UMBEL_HOME/local/prod-eu/kubeconfig -n people\"; names() { \"$@\" top pods --containers --no-headers | awk '{print $1, $2, $3 ~ /^[0-9]+m$/, $4 ~ /^[0-9]+Mi$/}'; }; " +
			`both() { through=$(names $K) && test "$through" = "$(names $D)"; }; until_so $K top pod shell; until_so both; echo $through`, "shell bash 1 1 shell server 1 1"},
		{"delete", "$K delete pod shell --grace-period=0 --force --wait=false", "deleted"},
	}
}

// program returns a client of a cluster, from her kubeconfig, that sends a header along.
func (a *ada) program(cluster, header string) *kubernetes.Clientset {
	a.Helper()
	loaded, err := clientcmd.LoadFromFile(filepath.Join(a.dir, "fleet"))
	if err != nil {
		a.Fatal(err)
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*loaded, cluster, nil, nil).ClientConfig()
	if err != nil {
		a.Fatal(err)
	}
	if header != "" {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return smuggler{next, header} })
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		a.Fatal(err)
	}
	return client
}

// isRefused is what Ada may not do, and who says so.
func (a *ada) isRefused(s *story) {
	const smuggled = "impersonation through the hub is not possible"
	for _, c := range []struct{ reason, cluster, header, namespace, want string }{
		{"what she may", "prod-eu", "", "people", ""},
		{"the cluster: another namespace", "prod-eu", "", "kube-system", `User "hub:system:serviceaccount:default:ada" cannot get resource "configmaps"`},
		{"the hub: a cluster that she may not reach", "prod-us", "", "people", `may not reach cluster "prod-us"`},
		{"the hub: being somebody else", "prod-eu", "Impersonate-User", "people", smuggled},
		{"the hub: having other attributes", "prod-eu", "Impersonate-Extra-Scopes", "people", smuggled},
		{"the hub: speaking for the hub", "prod-eu", "Umbel-Identity", "people", smuggled},
	} {
		_, err := a.program(c.cluster, c.header).CoreV1().ConfigMaps(c.namespace).Get(s.ctx, "words", metav1.GetOptions{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			s.Errorf("%s: got %v, want an error with %q", c.reason, err, c.want)
		}
	}
}

// smuggler sends a header along.
type smuggler struct {
	next   http.RoundTripper
	header string
}

func (m smuggler) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(m.header, "system:admin")
	return m.next.RoundTrip(r)
}

// ownPrograms are the mounts of a container, and the volumes of its pod, with which it has this computer's programs.
func ownPrograms() (mounts, volumes string) {
	for i, dir := range []string{"/usr", "/bin", "/lib", "/lib64"} {
		if _, err := os.Stat(dir); err == nil {
			mounts += fmt.Sprintf("    - {name: host%d, mountPath: %s, readOnly: true}\n", i, dir)
			volumes += fmt.Sprintf("  - {name: host%d, hostPath: {path: %s}}\n", i, dir)
		}
	}
	return mounts, volumes
}

// shellPod is a pod with this computer's own bash and tar, which answers whoever attaches, and a server on port 8080.
func shellPod() string {
	mounts, volumes := ownPrograms()
	return `apiVersion: v1
kind: ConfigMap
metadata: {name: words, namespace: people}
data:
  w: one
  Corefile: ".:1053 {\n  health :8080\n}\n"
---
apiVersion: v1
kind: Pod
metadata: {name: shell, namespace: people}
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  containers:
  - name: bash
    image: registry.umbel.dev/coredns:v1
    imagePullPolicy: Never
    command: [/usr/bin/bash, -c, 'echo begun; while read -r line; do echo "heard $line"; done']
    stdin: true
    env: [{name: PATH, value: "/usr/bin:/bin"}]
    volumeMounts:
    - {name: tmp, mountPath: /tmp}
` + mounts + `  - name: server
    image: registry.umbel.dev/coredns:v1
    imagePullPolicy: Never
    args: [-conf, /etc/words/Corefile]
    volumeMounts:
    - {name: words, mountPath: /etc/words, readOnly: true}
  volumes:
  - {name: tmp, emptyDir: {}}
  - {name: words, configMap: {name: words}}
` + volumes
}
