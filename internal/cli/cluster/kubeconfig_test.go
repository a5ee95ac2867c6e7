package cluster

import (
	"os"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// TestKubeconfigForAnHour: straight to a cluster, as an administrator of it, of the caller's own name, for as long as asked. The request is
// not left there. Who is an administrator kubeadm says otherwise. Secrets are in no error.
func TestKubeconfigForAnHour(t *testing.T) {
	d := newDesk(t)
	member, err := kubetest.Run(t.Context(), controlplane.ControllerManager)
	if err != nil {
		t.Fatal(err)
	}
	defer member.Stop()
	inside, err := kubernetes.NewForConfig(member.Config)
	if err != nil {
		t.Fatal(err)
	}
	d.cluster("direct", nil)
	if _, _, err := d.umbel("kubeconfig", "direct"); err == nil || !strings.Contains(err.Error(), "`umbel cluster describe direct -n default` shows how far it is") {
		t.Errorf("of a cluster that has not served yet: %v", err)
	}
	if _, _, err := d.umbel("kubeconfig", "direct", "--valid", "5m"); err == nil || !strings.Contains(err.Error(), "--valid is 5m0s: from 10m0s to 24h") {
		t.Errorf("for too short: %v", err)
	}
	raw, err := os.ReadFile(kubetest.Kubeconfig(t, member.Config))
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "direct-kubeconfig"}, Data: map[string][]byte{"value": []byte("hush: [")}}
	if err := d.hub.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.umbel("kubeconfig", "direct"); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("of a kubeconfig that is none: %v", err)
	}
	gone := kubetest.Kubeconfig(t, &rest.Config{Host: "https://127.0.0.1:1"})
	if secret.Data["value"], err = os.ReadFile(gone); err != nil {
		t.Fatal(err)
	}
	if err := d.hub.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.umbel("kubeconfig", "direct"); err == nil || strings.Contains(err.Error(), "the hub at") || !strings.Contains(err.Error(), "asks it directly at https://127.0.0.1:1") {
		t.Errorf("of a cluster that does not answer: %v", err)
	}
	secret.Data["value"] = raw
	if err := d.hub.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{v1alpha1.AdminGroup, kubeadmAdministrators} {
		if group == kubeadmAdministrators {
			binding := &rbacv1.ClusterRoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: group}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
				Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: group}},
			}
			if _, err := inside.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		out, _, err := d.umbel("kubeconfig", "direct", "--valid", "30m", "--timeout", "90s")
		if err != nil {
			t.Fatal(err)
		}
		d.isDirect(out, group)
	}
	left, err := inside.CertificatesV1().CertificateSigningRequests().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != 0 {
		t.Errorf("%d requests are left (%v)", len(left.Items), err)
	}
}

// isDirect uses a kubeconfig, and looks whose it is and how long.
func (d *desk) isDirect(kubeconfig, group string) {
	d.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	if err != nil {
		d.Fatal(err)
	}
	cert, err := identity.ParseCert(config.CertData)
	if err != nil {
		d.Fatal(err)
	}
	if left := time.Until(cert.NotAfter); left > 30*time.Minute || left < 20*time.Minute {
		d.Errorf("it is valid for %s more", left)
	}
	client, err := kubernetes.NewForConfig(rest.CopyConfig(config))
	if err != nil {
		d.Fatal(err)
	}
	who, err := client.AuthenticationV1().SelfSubjectReviews().Create(d.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		d.Fatal(err)
	}
	if u := who.Status.UserInfo; u.Username != "umbel:bootstrap" || u.Groups[0] != group { // who the test is at the hub
		d.Errorf("it is that of %s, of %v", u.Username, u.Groups)
	}
	if _, err := client.CoreV1().Secrets("").List(d.Context(), metav1.ListOptions{}); err != nil {
		d.Errorf("as an administrator: %v", err)
	}
}
