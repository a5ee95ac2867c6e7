package adopt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/agent"
	"umbel.dev/umbel/internal/cli"
	cliclient "umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// cluster is the name of the member.
const cluster = "prod-eu"

// world is a hub, and a member with its agent, each on an API server of its own; and Ada, who administers both. All tests share it.
type world struct {
	hub        client.WithWatch
	kubeconfig string // of Ada, for the hub
	member     *rest.Config
	direct     string // the administrator's kubeconfig of the member
	dynamic    *dynamic.DynamicClient
	agentDir   string
	stopAgent  func()
	ends       []func()
}

var shared struct {
	once  sync.Once
	world *world
	err   error
}

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	if os.Getenv(asUmbel) != "" {
		os.Exit(runUmbel())
	}
	code := m.Run()
	if w := shared.world; w != nil {
		w.end()
	}
	os.Exit(code)
}

func (w *world) end() {
	for i := len(w.ends) - 1; i >= 0; i-- {
		w.ends[i]()
	}
}

func start(t *testing.T) *world {
	t.Helper()
	shared.once.Do(func() {
		shared.world = &world{}
		shared.err = shared.world.begin()
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.world
}

func (w *world) begin() error {
	home, err := os.MkdirTemp("", "umbel-adopt-test-")
	if err != nil {
		return err
	}
	w.ends = append(w.ends, func() { _ = os.RemoveAll(home) })
	ctx := context.Background()
	apis := make([]*kubetest.API, 2)
	for i := range apis {
		if apis[i], err = kubetest.Run(ctx); err != nil {
			return err
		}
		w.ends = append(w.ends, apis[i].Stop)
		apis[i].Config.QPS = -1
	}
	w.member = apis[1].Config
	if w.dynamic, err = dynamic.NewForConfig(w.member); err != nil {
		return err
	}
	scheme, err := hub.Scheme()
	if err != nil {
		return err
	}
	if w.hub, err = client.NewWithWatch(apis[0].Config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	w.direct = filepath.Join(home, "member.kubeconfig")
	w.kubeconfig = filepath.Join(home, "hub.kubeconfig")
	admin := filepath.Join(home, "admin.kubeconfig")
	if err := errors.Join(kubetest.WriteKubeconfig(w.direct, w.member), kubetest.WriteKubeconfig(admin, apis[0].Config)); err != nil {
		return err
	}
	if err := w.startHub(ctx, filepath.Join(home, "hub"), admin); err != nil {
		return err
	}
	if err := w.invite(ctx, apis[0].Config); err != nil {
		return err
	}
	w.agentDir = filepath.Join(home, "agent")
	return w.join(ctx)
}

// startHub runs a hub on its API server. It may read repositories on this machine's disk.
func (w *world) startHub(ctx context.Context, home, admin string) error {
	kube, err := kubetest.Binary()
	if err != nil {
		return err
	}
	programs := filepath.Join(home, "programs")
	if err := os.MkdirAll(programs, 0o700); err != nil {
		return err
	}
	small := filepath.Join(filepath.Dir(kube), "umbel-pause") // any program that is linked statically can be an image
	if err := os.Symlink(small, filepath.Join(programs, "umbel-agent")); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- hub.Run(ctx, hub.Options{
			Home: home, Kubeconfig: admin, Programs: programs, CertificateLife: time.Hour, LocalSources: []string{os.TempDir()},
			Listen: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Log: slog.New(slog.DiscardHandler),
		})
	}()
	w.ends = append(w.ends, func() {
		cancel()
		if err := <-ended; err != nil {
			fmt.Fprintln(os.Stderr, "the hub ended with", err)
		}
	})
	return until("the hub says where it is", func() error {
		return w.hub.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, &corev1.ConfigMap{})
	})
}

// invite makes Ada somebody who may do everything, on the hub and on the member.
func (w *world) invite(ctx context.Context, config *rest.Config) error {
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	const account = "system:serviceaccount:default:ada"
	ada := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "ada"}}
	if err := w.hub.Create(ctx, ada); err != nil {
		return err
	}
	token, err := clients.CoreV1().ServiceAccounts("default").CreateToken(ctx, "ada", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	members, err := kubernetes.NewForConfig(w.member)
	if err != nil {
		return err
	}
	for name, on := range map[string]kubernetes.Interface{account: clients, "hub:" + account: members} {
		_, err := on.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "ada"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
	}
	as := rest.AnonymousClientConfig(config)
	as.BearerToken, as.TLSClientConfig = token.Status.Token, rest.TLSClientConfig{CAData: config.CAData, CAFile: config.CAFile}
	return kubetest.WriteKubeconfig(w.kubeconfig, as)
}

// join makes the other API server a member, as `umbel join --agent process` does, and waits until it is Ready.
func (w *world) join(ctx context.Context) error {
	token, err := identity.NewToken()
	if err != nil {
		return err
	}
	if err := w.hub.Create(ctx, &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: cluster}}); err != nil {
		return err
	}
	err = w.hub.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret(cluster)},
		Type:       v1alpha1.JoinTokenType,
		StringData: map[string]string{
			v1alpha1.JoinTokenHash:    identity.HashToken(token),
			v1alpha1.JoinTokenExpires: time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		},
	})
	if err != nil {
		return err
	}
	var info corev1.ConfigMap
	if err := w.hub.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, &info); err != nil {
		return err
	}
	boot, err := json.Marshal(v1alpha1.Bootstrap{Cluster: cluster, Address: info.Data[v1alpha1.HubInfoAddress], CA: info.Data[v1alpha1.HubInfoCA], Token: token})
	if err != nil {
		return err
	}
	members, err := client.New(w.member, client.Options{})
	if err != nil {
		return err
	}
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AgentNamespace}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.AgentNamespace, Name: "umbel-agent-bootstrap"}, Data: map[string][]byte{"bootstrap.json": boot}},
	} {
		if err := members.Create(ctx, o); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(w.agentDir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(w.agentDir, "bootstrap.json"), boot, 0o600); err != nil {
		return err
	}
	w.startAgent()
	w.ends = append(w.ends, func() { w.stopAgent() })
	return until("the member is Ready", w.ready)
}

func (w *world) ready() error {
	var m v1alpha1.MemberCluster
	if err := w.hub.Get(context.Background(), client.ObjectKey{Name: cluster}, &m); err != nil {
		return err
	}
	if !meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionConnected) {
		return fmt.Errorf("it is %+v", m.Status.Conditions)
	}
	return nil
}

// startAgent runs the agent of the member until stopAgent.
func (w *world) startAgent() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	o := agent.Options{Dir: w.agentDir, Bootstrap: filepath.Join(w.agentDir, "bootstrap.json"), Config: rest.CopyConfig(w.member), Log: slog.New(slog.DiscardHandler)}
	go func() { ended <- agent.Run(ctx, o) }()
	w.stopAgent = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			fmt.Fprintln(os.Stderr, "the agent ended with", err)
		}
	})
}

// until waits until a check succeeds.
func until(what string, check func() error) error {
	deadline := time.Now().Add(3 * time.Minute)
	for {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %w", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// said is what a command wrote, and how it ended.
type said struct {
	Out, Err string
	Code     int
}

// umbel runs a command as Ada.
func (w *world) umbel(ctx context.Context, args ...string) said {
	var out, errs bytes.Buffer
	f := cliclient.New(output.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	f.Kubeconfig = w.kubeconfig
	root := cli.NewRoot(f)
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errs)
	err := exit.Execute(ctx, root)
	if err != nil && !exit.Silent(err) {
		errs.WriteString("error: " + err.Error() + "\n")
	}
	return said{out.String(), errs.String(), exit.Code(err)}
}

// does runs a command that has to succeed.
func (w *world) does(t *testing.T, args ...string) said {
	t.Helper()
	got := w.umbel(t.Context(), args...)
	if got.Code != 0 {
		t.Fatalf("umbel %s: code %d\n%s%s", strings.Join(args, " "), got.Code, got.Out, got.Err)
	}
	return got
}

// kubectl runs kubectl itself on the member, past the hub, as people did before there was one.
func (w *world) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	kube, err := kubetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), kube, append([]string{"kubectl", "--kubeconfig", w.direct}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
