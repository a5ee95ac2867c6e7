package join

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// standInDir says in the environment that this program is to be the stand-in for a credential plugin of a cloud, and where its things are.
const standInDir = "UMBEL_STAND_IN_PLUGIN"

// standIn is what is run in the place of gke-gcloud-auth-plugin, aws and kubelogin: no cloud is asked. It writes down how it was called, and
// does what the file "does" says: print the credential of the file "credential" (with the end that "ends" names), or misbehave.
func standIn(dir string) int {
	read := func(name string) string {
		raw, _ := os.ReadFile(filepath.Join(dir, name))
		return strings.TrimSpace(string(raw))
	}
	calls, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 2
	}
	fmt.Fprintln(calls, filepath.Base(os.Args[0]), strings.Join(os.Args[1:], " "), os.Getenv("KUBERNETES_EXEC_INFO"))
	calls.Close()
	switch read("does") {
	case "hang":
		fifo, _ := os.Open(filepath.Join(dir, "fifo")) // until somebody writes
		io.Copy(io.Discard, fifo)                      //nolint:errcheck // there is nothing to read
		return 3
	case "fail":
		fmt.Fprintln(os.Stderr, "the stand-in has no session")
		return 255
	case "garbage":
		fmt.Println("Your session ends soon! Renew it.")
		fmt.Println(read("credential"))
		return 0
	}
	fmt.Println(read("credential"))
	return 0
}

// gate is a cluster whose kubeconfig has a plugin for its credentials.
type gate struct {
	*testing.T
	api        kube.Client
	clients    *kubernetes.Clientset
	config     *rest.Config
	dir        string
	kubeconfig string
	user       *clientcmdapi.AuthInfo
}

// shape is how a kubeconfig of a host of clusters names its plugin.
type shape struct {
	command, hint string
	args          []string
	clusterInfo   bool
	version       string
}

var shapes = map[string]shape{
	"GKE":       {command: "gke-gcloud-auth-plugin", hint: "Install gke-gcloud-auth-plugin for use with kubectl", clusterInfo: true, version: "v1beta1"},
	"EKS":       {command: "aws", args: []string{"--region", "eu-west-1", "eks", "get-token", "--cluster-name", "shop", "--output", "json"}, version: "v1beta1"},
	"AKS":       {command: "kubelogin", args: []string{"get-token", "--login", "azurecli", "--server-id", "6dae42f8-4368-4678-94ff-3960e28e3630"}, version: "v1beta1"},
	"any other": {command: "somebody's-plugin", version: "v1"},
}

func newGate(t *testing.T, s shape) *gate {
	t.Helper()
	g := &gate{T: t, config: kubetest.Start(t), dir: t.TempDir()}
	var err error
	if g.api, err = kube.New(g.config, kube.Options{}); err != nil {
		t.Fatal(err)
	}
	if g.clients, err = kubernetes.NewForConfig(g.config); err != nil {
		t.Fatal(err)
	}
	g.write("does", "work")
	if s.command != "" {
		self, err := os.Executable()
		if err == nil {
			err = os.Symlink(self, filepath.Join(g.dir, s.command))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", g.dir) // nothing of this machine's: it may have the real ones
	g.user = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
		APIVersion: "client.authentication.k8s.io/" + s.version, Command: s.command, Args: s.args, InstallHint: s.hint, ProvideClusterInfo: s.clusterInfo,
		InteractiveMode: clientcmdapi.IfAvailableExecInteractiveMode, Env: []clientcmdapi.ExecEnvVar{{Name: standInDir, Value: g.dir}},
	}}
	g.credential(s.version, g.token("administrator", nil))
	g.save()
	return g
}

func (g *gate) write(name, content string) {
	g.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name), []byte(content), 0o600); err != nil {
		g.Fatal(err)
	}
}

// save writes the kubeconfig, with another context beside the one that is meant.
func (g *gate) save() {
	g.Helper()
	g.kubeconfig = filepath.Join(g.dir, "kubeconfig")
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		CurrentContext: "elsewhere",
		Contexts:       map[string]*clientcmdapi.Context{"shop": {Cluster: "shop", AuthInfo: "me"}, "elsewhere": {Cluster: "elsewhere", AuthInfo: "nobody"}},
		Clusters: map[string]*clientcmdapi.Cluster{
			"shop": {Server: g.config.Host, CertificateAuthorityData: g.config.CAData}, "elsewhere": {Server: "https://192.0.2.1"},
		},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"me": g.user, "nobody": {Token: "none"}},
	}, g.kubeconfig)
	if err != nil {
		g.Fatal(err)
	}
}

// token returns a token of an administrator; one that is bound to a Secret ends with that.
func (g *gate) token(name string, bound *corev1.Secret) string {
	g.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: name}},
	}
	for _, o := range []kube.Object{account, binding} {
		if err := g.api.Create(g.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
			g.Fatal(err)
		}
	}
	// An API server takes a moment to learn of a binding.
	if err := wait.PollUntilContextTimeout(g.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: "system:serviceaccount:" + account.Namespace + ":" + name, ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "*", Group: "*", Resource: "*"},
		}}
		err := g.api.Create(ctx, review)
		return review.Status.Allowed, err
	}); err != nil {
		g.Fatal(err)
	}
	ask := &authenticationv1.TokenRequest{}
	if bound != nil {
		ask.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: bound.Name, UID: bound.UID}
	}
	got, err := g.clients.CoreV1().ServiceAccounts(account.Namespace).CreateToken(g.Context(), name, ask, metav1.CreateOptions{})
	if err != nil {
		g.Fatal(err)
	}
	return got.Status.Token
}

// credential is what the plugin prints, with an end or without.
func (g *gate) credential(version, token string, ends ...time.Time) {
	g.Helper()
	status := map[string]any{"token": token}
	for _, end := range ends {
		status["expirationTimestamp"] = end.UTC().Format(time.RFC3339)
	}
	raw, err := json.Marshal(map[string]any{"apiVersion": "client.authentication.k8s.io/" + version, "kind": "ExecCredential", "status": status})
	if err != nil {
		g.Fatal(err)
	}
	g.write("credential", string(raw))
}

// calls are those of the plugin.
func (g *gate) calls() []string {
	g.Helper()
	raw, err := os.ReadFile(filepath.Join(g.dir, "calls"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		g.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(raw)), "\n")
}

// enter does what joining does first.
func (g *gate) enter(patience time.Duration) (*member, error) {
	g.Helper()
	m, err := openMember(g.kubeconfig, "shop")
	if err == nil {
		err = m.signIn(g.Context(), patience, io.Discard)
	}
	if err == nil {
		_, err = m.survey(g.Context())
	}
	return m, err
}

// TestSignsInAsTheKubeconfigSays runs a plugin as the kubeconfigs of the big hosts name theirs.
func TestSignsInAsTheKubeconfigSays(t *testing.T) {
	for name, s := range shapes {
		t.Run(name, func(t *testing.T) {
			g := newGate(t, s)
			if _, err := g.enter(time.Minute); err != nil {
				t.Fatal(err)
			}
			calls := g.calls()
			if len(calls) != 1 || !strings.HasPrefix(calls[0], s.command+" "+strings.Join(s.args, " ")) || strings.Contains(calls[0], g.config.Host) != s.clusterInfo {
				t.Errorf("the plugin was called as\n%s", strings.Join(calls, "\n"))
			}
		})
	}
	t.Run("a certificate of a plugin", func(t *testing.T) {
		g := newGate(t, shapes["AKS"])
		raw, err := json.Marshal(map[string]any{"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential", "status": map[string]string{
			"clientCertificateData": string(g.config.CertData), "clientKeyData": string(g.config.KeyData),
		}})
		if err != nil {
			t.Fatal(err)
		}
		g.write("credential", string(raw))
		if _, err := g.enter(time.Minute); err != nil {
			t.Error(err)
		}
	})
	t.Run("a token in a file", func(t *testing.T) {
		g := newGate(t, shape{version: "v1"})
		g.write("token", g.token("administrator", nil))
		g.user = &clientcmdapi.AuthInfo{TokenFile: filepath.Join(g.dir, "token")}
		g.save()
		if _, err := g.enter(time.Minute); err != nil {
			t.Error(err)
		}
	})
}

// itsHost stands for the cluster's address in a table of words.
const itsHost = "HOST"

// TestPluginsThatDoNotSignIn: whoever joins a cluster is told what is wrong with what signs in, and what to do.
func TestPluginsThatDoNotSignIn(t *testing.T) {
	for reason, c := range map[string]struct {
		shape string
		does  string
		wrong func(*gate)
		says  []string
	}{
		"it fails":                         {"EKS", "fail", nil, []string{"aws", "exit code 255", "aws sso login", `user "me"`}},
		"it fails otherwise":               {"any other", "fail", nil, []string{"exit code 255", "what it says itself is above"}},
		"it prints something else before":  {"AKS", "garbage", nil, []string{"kubelogin", "ExecCredential", "nothing else"}},
		"it prints a credential of before": {"GKE", "work", func(g *gate) { g.credential("v1", "x") }, []string{"v1beta1", "ExecCredential"}},
		"it gives nothing":                 {"GKE", "work", func(g *gate) { g.credential("v1beta1", "") }, []string{"didn't return a token"}},
		"it gives what nobody knows":       {"GKE", "work", func(g *gate) { g.credential("v1beta1", "of another cluster") }, []string{itsHost, "not known there", "gcloud auth login"}},
		"it is not installed": {"GKE", "work", func(g *gate) {
			if err := os.Remove(filepath.Join(g.dir, "gke-gcloud-auth-plugin")); err != nil {
				g.Fatal(err)
			}
		}, []string{"gke-gcloud-auth-plugin not found", "PATH", "Install gke-gcloud-auth-plugin"}},
		"it wants a terminal": {"AKS", "work", func(g *gate) {
			g.user.Exec.InteractiveMode = clientcmdapi.AlwaysExecInteractiveMode
			g.save()
		}, []string{"not a terminal", "asks a person"}},
		"it is of an API that is gone": {"EKS", "work", func(g *gate) {
			g.user.Exec.APIVersion = "client.authentication.k8s.io/v1alpha1"
			g.save()
		}, []string{"1.24", "aws eks update-kubeconfig"}},
		"it is no plugin but what was before plugins": {"GKE", "work", func(g *gate) {
			g.user = &clientcmdapi.AuthInfo{AuthProvider: &clientcmdapi.AuthProviderConfig{Name: "gcp"}}
			g.save()
		}, []string{"1.26", "gcloud container clusters get-credentials"}},
		"a token that nobody knows": {"GKE", "work", func(g *gate) {
			g.user = &clientcmdapi.AuthInfo{Token: "of another cluster"}
			g.save()
		}, []string{itsHost, "not known there", `user "me"`}},
	} {
		t.Run(reason, func(t *testing.T) {
			g := newGate(t, shapes[c.shape])
			g.write("does", c.does)
			if c.wrong != nil {
				c.wrong(g)
			}
			_, err := g.enter(time.Minute)
			if err == nil {
				t.Fatal("it is let in")
			}
			for _, word := range c.says {
				if word == itsHost {
					word = g.config.Host
				}
				if !strings.Contains(err.Error(), word) {
					t.Errorf("it does not say %q:\n%v", word, err)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("it says more than a line:\n%v", err)
			}
		})
	}
}

// TestAPluginThatHangsIsNotWaitedForForever: at the first request, and when the credentials end in the middle.
func TestAPluginThatHangsIsNotWaitedForForever(t *testing.T) {
	g := newGate(t, shapes["AKS"])
	if err := unix.Mkfifo(filepath.Join(g.dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the plugins end
		for range g.calls() {
			fifo, err := os.OpenFile(filepath.Join(g.dir, "fifo"), os.O_RDWR, 0)
			if err == nil {
				fifo.Close()
			}
		}
	})
	g.write("does", "hang")
	_, err := g.enter(2 * time.Second)
	mustSay(t, err, "kubelogin has not answered, and was ended", `user "me"`, "kubectl")
	g.ended()

	g.user.Exec.Args = append(g.user.Exec.Args, "again") // client-go has one of each, which waits
	g.save()
	g.write("does", "work")
	g.credential("v1beta1", g.token("administrator", nil), time.Now().Add(-time.Minute)) // it is run for each request
	m, err := g.enter(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	g.write("does", "hang")
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err = m.Get(short, kube.ObjectKey{Name: "default"}, &corev1.Namespace{})
	mustSay(t, err, "kubelogin has not answered")
	g.ended()
}

// ended waits until this process has started no plugin that is still there.
func (g *gate) ended() {
	g.Helper()
	last := []int{}
	err := wait.PollUntilContextTimeout(g.Context(), 20*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		last = slices.DeleteFunc(childrenOf("self"), func(pid int) bool { return !runs(pid, g.user.Exec.Command) })
		return len(last) == 0, nil
	})
	if err != nil {
		g.Errorf("a plugin outlives what it was run for: %v", last)
	}
}

// TestCredentialsThatEndInTheMiddle are replaced: where the plugin says when, and where the cluster alone knows.
func TestCredentialsThatEndInTheMiddle(t *testing.T) {
	g := newGate(t, shapes["EKS"])
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, GenerateName: "session-"}}
	if err := g.api.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	first := g.token("administrator", secret)
	g.credential("v1beta1", first)
	m, err := g.enter(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.api.Delete(t.Context(), secret); err != nil { // the session ends
		t.Fatal(err)
	}
	ended := rest.AnonymousClientConfig(g.config)
	ended.BearerToken = first
	other, err := kube.New(ended, kube.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// An API server believes a token for ten seconds.
	if err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		return apierrors.IsUnauthorized(other.Get(ctx, kube.ObjectKey{Name: "default"}, &corev1.Namespace{})), nil
	}); err != nil {
		t.Fatal(err)
	}
	g.credential("v1beta1", g.token("administrator", nil), time.Now().Add(-time.Minute))
	boot := v1alpha1.Bootstrap{Cluster: "prod-eu", Address: "192.0.2.1:7443", CA: "the hub's CA", Token: "a token"}
	if _, err := m.install(t.Context(), installation{boot: boot, image: "192.0.2.1:7443/umbel/agent:v1"}, found{}); err != nil {
		t.Fatalf("with a session that ended before it: %v", err)
	}
	if calls := g.calls(); len(calls) < 3 {
		t.Errorf("the plugin was called %d times: once at first, once when the session had ended, and since then for each request", len(calls))
	}
}

// TestACopyOfAKubeconfigSaysTheSame: the one of an agent that runs as a process has the context that was asked for, and finds its files.
func TestACopyOfAKubeconfigSaysTheSame(t *testing.T) {
	g := newGate(t, shapes["any other"])
	g.user.Exec.Command = "./somebody's-plugin"
	g.save()
	raw, err := accessOf(g.kubeconfig, "shop")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(elsewhere, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "nobody") {
		t.Errorf("it has what is not meant:\n%s", raw)
	}
	m, err := openMember(elsewhere, "")
	if err == nil {
		_, err = m.survey(t.Context())
	}
	if err != nil || m.server != g.config.Host {
		t.Errorf("by the copy: %v", err)
	}
}
