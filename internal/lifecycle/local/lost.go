package local

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
)

// kubeletPort is where a kubelet serves, and answerTime how long it may take to greet.
const (
	kubeletPort = 10250
	answerTime  = 5 * time.Second
)

// AskKubelet returns when the kubelet of a machine answers at its address; an error when it does not within five seconds. It says
// nothing of how the node does otherwise, which Kubernetes knows.
func (l *Local) AskKubelet(ctx context.Context, m Machine) error {
	address, err := netip.ParseAddr(m.Address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	// Who it is does not matter here: nothing is told, and nothing believed but that somebody greets.
	dialer := &tls.Dialer{NetDialer: &net.Dialer{}, Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // see above
	connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(address.String(), strconv.Itoa(kubeletPort)))
	if err != nil {
		return fmt.Errorf("its kubelet does not answer: %w; see %s/logs", err, m.Dir)
	}
	return connection.Close()
}

// LoseMachine ends whatever is left of a machine that has lost what it had, and takes its Node, with the pods that ran there, out of the
// cluster, as a cloud does with an instance that is gone: they cannot come back, and are free to run elsewhere. It is idempotent.
func (l *Local) LoseMachine(ctx context.Context, h Hosted, node string) error {
	if err := l.EndMachine(ctx, h, node); err != nil {
		return err
	}
	r, err := l.owned(h)
	if err != nil {
		return err
	}
	client, err := l.clientOf(r)
	if err != nil {
		return err
	}
	if err := client.CoreV1().Nodes().Delete(ctx, node, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting node %s, whose machine is lost: %w", node, err)
	}
	if err := ForgetPods(ctx, client, node); err != nil {
		return fmt.Errorf("of node %s, whose machine is lost: %w", node, err)
	}
	return nil
}

// ForgetPods takes the pods of a node that is gone for good out of a cluster. Kubernetes does so by itself, some forty seconds later. It is
// idempotent.
func ForgetPods(ctx context.Context, client kubernetes.Interface, node string) error {
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String()})
	if err != nil {
		return fmt.Errorf("listing the pods: %w", err)
	}
	for _, pod := range pods.Items {
		at := metav1.DeleteOptions{GracePeriodSeconds: new(int64(0)), Preconditions: metav1.NewUIDPreconditions(string(pod.UID))}
		err := client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, at)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("deleting pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
	}
	return nil
}
