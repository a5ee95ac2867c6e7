package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

// TestAHubOnAnExistingAPI is the list from its first part to its last: the kinds are there, members can learn how the
// hub is reached, a controller is at work, and the hub ends without a complaint.
//
// It has the rights that the Helm chart gives it, and no others.
func TestAHubOnAnExistingAPI(t *testing.T) {
	config := kubetest.Start(t)
	home := t.TempDir()
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
			Home: home, Kubeconfig: kubetest.Kubeconfig(t, asCharted(t, config)), Programs: programs, CertificateLife: time.Hour,
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
		err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
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
	eventually("its API behind its door, as whoever asks", func(context.Context) error {
		state, err := ReadState(home)
		if err != nil {
			return err
		}
		ada := account(t, config, "ada")
		ada.Host, ada.TLSClientConfig = "https://"+state.Address+"/hub", rest.TLSClientConfig{CAFile: state.CAFile}
		clients, err := kubernetes.NewForConfig(ada)
		if err != nil {
			return err
		}
		review, err := clients.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		if err == nil && review.Status.UserInfo.Username != "system:serviceaccount:default:ada" {
			return fmt.Errorf("it takes her for %s", review.Status.UserInfo.Username)
		}
		return err
	})
	pushed(t, home, config, api, eventually)
	eventually("the rules that it is shipped with, and how they stand", func(context.Context) error { return ruled(t, home, config, api) })
	// A rotation that is asked for is announced: in what people read, and in the file on the hub's machine, which the replica
	// writes when it has seen the Secret change.
	eventually("how it stands with the authority", func(ctx context.Context) error {
		talk := &corev1.ConfigMap{}
		if err := api.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.CAConfigMap}, talk); err != nil {
			return err
		}
		talk.Data[v1alpha1.CARequestKey] = `{"id": "1", "action": "Rotate"}`
		return api.Update(ctx, talk)
	})
	eventually("two authorities, everywhere", func(ctx context.Context) error {
		if err := api.Get(ctx, client.ObjectKeyFromObject(&info), &info); err != nil {
			return err
		}
		state, err := ReadState(home)
		if err != nil {
			return err
		}
		file, err := os.ReadFile(state.CAFile)
		if err == nil && (strings.Count(string(file), "BEGIN CERTIFICATE") != 2 || string(file) != info.Data[v1alpha1.HubInfoCA]) {
			err = fmt.Errorf("the file has %q, people read %q", file, info.Data[v1alpha1.HubInfoCA])
		}
		return err
	})
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the hub ended with %v", err)
	}
	written, err := os.ReadFile(filepath.Join(AuditDir(home), "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]bool{
		`"username":"umbel:hub"`: true, `"resource":"customresourcedefinitions"`: true, `"resource":"secrets"`: true, `"resource":"placements"`: true,
		`"resource":"leases"`: false, `"verb":"get"`: false,
	} {
		if got := strings.Contains(string(written), word); got != want {
			t.Errorf("what the hub did by itself has %s: %t, want %t", word, got, want)
		}
	}
}

// ruled says why the hub does not evaluate the rules that it is shipped with, or does not say so to who may see what it measures.
func ruled(t *testing.T, home string, config *rest.Config, api client.Client) error {
	t.Helper()
	state, err := ReadState(home)
	if err != nil {
		return err
	}
	grace := account(t, config, "grace")
	may := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "grace"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: "grace"}},
	}
	if err := api.Create(t.Context(), may); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	grace.Host, grace.TLSClientConfig = "https://"+state.Address, rest.TLSClientConfig{CAFile: state.CAFile}
	web, err := rest.HTTPClientFor(grace)
	if err != nil {
		return err
	}
	for path, words := range map[string][]string{
		"/api/v1/rules":  {`"name":"ClusterUnreachable"`, `"file":"umbel-system/umbel-clusters"`, `"name":"APIServerErrors"`},
		"/api/v1/alerts": {`"alerts":[]`},
	} {
		answer, err := web.Get(grace.Host + path)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			return err
		}
		for _, word := range words {
			if !strings.Contains(string(body), word) {
				return fmt.Errorf("%s lacks %s: %s", path, word, body)
			}
		}
	}
	return nil
}

// account makes a ServiceAccount in the namespace default, unless it is there, and returns how it reaches the API.
func account(t *testing.T, config *rest.Config, name string) *rest.Config {
	t.Helper()
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	accounts := clients.CoreV1().ServiceAccounts("default")
	_, err = accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	token, err := accounts.CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	as := rest.AnonymousClientConfig(config)
	as.BearerToken, as.TLSClientConfig = token.Status.Token, rest.TLSClientConfig{CAData: config.CAData, CAFile: config.CAFile}
	return as
}

// asCharted returns how the API is reached with the rights that the chart gives a hub.
func asCharted(t *testing.T, config *rest.Config) *rest.Config {
	t.Helper()
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("../../deploy/chart/files/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	everywhere, inside, _ := bytes.Cut(bytes.TrimPrefix(raw, []byte("---\n")), []byte("\n---\n"))
	role, own := &rbacv1.ClusterRole{}, &rbacv1.Role{}
	if err := errors.Join(yaml.UnmarshalStrict(everywhere, role), yaml.UnmarshalStrict(inside, own)); err != nil {
		t.Fatal(err)
	}
	for _, rule := range role.Rules {
		if slices.Contains(rule.Resources, "secrets") || slices.Contains(rule.Resources, "*") && slices.Contains(rule.APIGroups, "") {
			t.Errorf("a hub may %s the Secrets of every namespace", rule.Verbs)
		}
	}
	hub := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: "hub"}}
	if _, err := clients.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = clients.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "hub"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name}, Subjects: hub,
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: own.Namespace}}
	if _, err := clients.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	if _, err := clients.RbacV1().Roles(own.Namespace).Create(t.Context(), own, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = clients.RbacV1().RoleBindings(own.Namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "hub"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: own.Name}, Subjects: hub,
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = clients.RbacV1().RoleBindings("kube-system").Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "hub"}, Subjects: hub,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "extension-apiserver-authentication-reader"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []authorizationv1.ResourceAttributes{ // the API server hears of each binding beside all else
		{Verb: "create", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"},
		{Verb: "get", Resource: "secrets", Namespace: own.Namespace, Name: "any"},
		{Verb: "get", Resource: "configmaps", Namespace: "kube-system", Name: "extension-apiserver-authentication"},
	} {
		err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: "system:serviceaccount:default:hub", ResourceAttributes: &what}}
			answer, err := clients.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			return err == nil && answer.Status.Allowed, err
		})
		if err != nil {
			t.Fatalf("the hub may not %s %s: %v", what.Verb, what.Resource, err)
		}
	}
	return account(t, config, "hub")
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
