package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/lifecycle/contract"
)

// leastValid is the shortest life that Kubernetes gives a certificate.
const leastValid = 10 * time.Minute

// tidyTime is how long the deletion of a request may take that has been answered, or that nobody waits for any more.
const tidyTime = 5 * time.Second

// kubeconfigOptions are the arguments of `umbel cluster kubeconfig`.
type kubeconfigOptions struct {
	*client.Factory
	name    string
	valid   time.Duration
	timeout time.Duration
}

func newKubeconfigCmd(f *client.Factory) *cobra.Command {
	o := &kubeconfigOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "kubeconfig NAME",
		Short: "Print a kubeconfig that leads straight to a cluster, for a short time",
		Long: "Print a kubeconfig for a cluster that the hub makes, which leads to its API and not through the hub: for the hour in which the hub, or the\n" +
			"cluster's agent, is not there. It has a certificate of your name in the hub, as one of the cluster's administrators, which the cluster issues for\n" +
			"this and which nobody can take back: it ends by itself. Who may read the Secret NAME-kubeconfig may have one.\n\n" +
			"For every day there is `umbel kubeconfig`, which goes through the hub, as who you are there, and has no credential in it.",
		Example:           "  umbel cluster kubeconfig dev --valid 30m > dev.kubeconfig\n  kubectl --kubeconfig dev.kubeconfig get nodes",
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			if o.valid < leastValid || o.valid > 24*time.Hour {
				return exit.Usagef("--valid is %s: from %s to 24h", o.valid, leastValid)
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	o.valid, o.timeout = time.Hour, 30*time.Second
	span.Var(cmd.Flags(), &o.valid, "valid", "`DURATION` for which it is valid, 10m to 24h")
	span.Var(cmd.Flags(), &o.timeout, "timeout", "`DURATION` to wait for the cluster")
	return cmd
}

func (o *kubeconfigOptions) run(ctx context.Context, hub *client.Hub) error {
	cluster, err := find(ctx, hub, kube.ObjectKey{Namespace: o.Namespace, Name: o.name})
	if err != nil {
		return err
	}
	if v1alpha1.Hibernated(cluster.GetAnnotations()) {
		return atWork(cluster)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	config, _, err := contract.Config(ctx, hub, kube.ObjectKey{Namespace: o.Namespace, Name: o.name})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("cluster %s cannot be reached: its Secret %s-kubeconfig is not there, as it is once its API has served: `umbel cluster describe %s -n %s` shows how far it is",
			o.name, o.name, o.name, o.Namespace)
	}
	if err != nil {
		return fmt.Errorf("cluster %s cannot be reached: %w", o.name, err)
	}
	review := &authenticationv1.SelfSubjectReview{}
	if err := hub.Create(ctx, review); err != nil {
		return fmt.Errorf("asking the hub who you are: %w", err)
	}
	content, err := issueUser(ctx, config, o.name, review.Status.UserInfo.Username, o.valid)
	if err != nil { // it is the cluster's, and none of the hub's, which is told of otherwise
		return fmt.Errorf("cluster %s issues no certificate for %s: %v; the command asks it directly at %s", o.name, review.Status.UserInfo.Username, err, config.Host)
	}
	_, err = o.Out.Write(content)
	return err
}

// issueUser has a cluster issue a certificate for a user, and returns a kubeconfig with it.
func issueUser(ctx context.Context, config *rest.Config, cluster, user string, valid time.Duration) ([]byte, error) {
	inside, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	encoded, err := identity.EncodeKey(key)
	if err != nil {
		return nil, err
	}
	group, err := administrators(ctx, inside)
	if err != nil {
		return nil, err
	}
	certificate, err := signed(ctx, inside, key, pkix.Name{CommonName: user, Organization: []string{group}}, valid)
	if err != nil {
		return nil, fmt.Errorf("having a certificate issued: %w", err)
	}
	name := cluster + "-direct"
	return clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: config.Host, TLSServerName: config.ServerName, CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {ClientCertificateData: certificate, ClientKeyData: encoded}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	})
}

// kubeadmAdministrators is the group of those who may do everything where kubeadm made the cluster, and the ClusterRoleBinding that says so.
const kubeadmAdministrators = "kubeadm:cluster-admins"

// administrators returns the group of those who may do everything in a cluster.
func administrators(ctx context.Context, inside kubernetes.Interface) (string, error) {
	_, err := inside.RbacV1().ClusterRoleBindings().Get(ctx, kubeadmAdministrators, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return v1alpha1.AdminGroup, nil
	}
	if err != nil {
		return "", fmt.Errorf("looking who its administrators are: %w", err)
	}
	return kubeadmAdministrators, nil
}

// signed asks for a certificate, says yes to that, and waits for it. The request is deleted then.
func signed(ctx context.Context, inside kubernetes.Interface, key *ecdsa.PrivateKey, who pkix.Name, valid time.Duration) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: who}, key)
	if err != nil {
		return nil, err
	}
	requests := inside.CertificatesV1().CertificateSigningRequests()
	asked, err := requests.Create(ctx, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "umbel-direct-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: certificatesv1.KubeAPIServerClientSignerName, ExpirationSeconds: new(int32(valid.Seconds())),
			Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	defer func() {
		tidying, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
		defer cancel()
		_ = requests.Delete(tidying, asked.Name, metav1.DeleteOptions{}) // its controller manager deletes it after an hour otherwise
	}()
	asked.Status.Conditions = append(asked.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "UmbelClusterKubeconfig", Message: "asked for by `umbel cluster kubeconfig`",
	})
	if _, err := requests.UpdateApproval(ctx, asked.Name, asked, metav1.UpdateOptions{}); err != nil {
		return nil, err
	}
	var certificate []byte
	err = until(ctx, nil, func(ctx context.Context) (bool, string, error) {
		now, err := requests.Get(ctx, asked.Name, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		for _, c := range now.Status.Conditions {
			if c.Type == certificatesv1.CertificateFailed || c.Type == certificatesv1.CertificateDenied {
				return false, "", errors.New(c.Message)
			}
		}
		certificate = now.Status.Certificate
		return len(certificate) > 0, "its controller manager has not signed it", nil
	})
	return certificate, err
}
