package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/kinds"
)

// explained is an error in the words of the person who ran the command.
type explained struct {
	sentence string
	cause    error
}

func (e explained) Error() string { return e.sentence }
func (e explained) Unwrap() error { return e.cause }

// Explain makes a sentence with the next step of an error that the hub's API or the way to it caused. Other errors,
// and those that were explained before, come back as they are; of joined errors each is explained.
func (h *Hub) Explain(err error) error {
	if err == nil {
		return nil
	}
	if _, done := errors.AsType[explained](err); done {
		return err
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, one := range joined.Unwrap() {
			all = append(all, h.Explain(one))
		}
		return errors.Join(all...)
	}
	if sentence := h.sentence(err); sentence != "" {
		return explained{sentence: sentence, cause: err}
	}
	return err
}

func (h *Hub) sentence(err error) string {
	if sentence := h.unreached(err); sentence != "" {
		return sentence
	}
	// client-go has no type for it; the program has said what is wrong itself.
	if h.Config.ExecProvider != nil && strings.Contains(err.Error(), "getting credentials: exec:") {
		return fmt.Sprintf("there are no credentials for the hub at %s: the program that gets them says why, above", h.Config.Host)
	}
	if sentence := h.untrusted(err); sentence != "" {
		return sentence
	}
	return h.refused(err)
}

// unreached speaks of a hub that did not answer.
func (h *Hub) unreached(err error) string {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Sprintf("the hub at %s does not answer: is it running? `umbel up` starts it", h.Config.Host)
	}
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Sprintf("the hub at %s broke the connection off: try again; `umbel up` heals it", h.Config.Host)
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Sprintf("the hub's name %q is not known (%s): the server in %s may be wrong", dns.Name, dns.Err, h.kubeconfig)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return fmt.Sprintf("the hub at %s cannot be reached (%s): is the network up, and is the server in %s right?", h.Config.Host, op.Err, h.kubeconfig)
	}
	return ""
}

// untrusted speaks of a hub that answers and is not the one meant.
func (h *Hub) untrusted(err error) string {
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Sprintf("the hub at %s is not the one that %s trusts (%s): is the file of another hub, or an older one?", h.Config.Host, h.kubeconfig, bad.Err)
	}
	if name, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("the hub at %s is not the one that %s trusts (%s)", h.Config.Host, h.kubeconfig, name)
	}
	return ""
}

// refused speaks of a hub that answers, and not what was hoped for.
func (h *Hub) refused(err error) string {
	switch {
	case apierrors.IsUnauthorized(err):
		return fmt.Sprintf("the hub at %s does not accept the credentials in %s: they may have expired; `umbel up` renews those of a local hub, `umbel login` signs in to another", h.Config.Host, h.kubeconfig)
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("%s: ask an administrator of the hub for a Role that allows it", reason(err))
	case meta.IsNoMatchError(err), apierrors.IsNotFound(err) && missing(err) == "":
		return fmt.Sprintf("the API at %s does not serve %s: is %s the kubeconfig of a hub?", h.Config.Host, v1alpha1.GroupVersion, h.kubeconfig)
	case apierrors.IsNotFound(err):
		return h.notFound(err)
	}
	return ""
}

// notFound speaks of an object of ours that does not exist.
func (h *Hub) notFound(err error) string {
	status, _ := errors.AsType[*apierrors.StatusError](err)
	details := status.Status().Details
	kind, unknown := kinds.Lookup(details.Kind)
	if unknown != nil || details.Group != v1alpha1.GroupVersion.Group {
		return ""
	}
	if kind.Scope == kinds.Cluster {
		return fmt.Sprintf("there is no %s %q: `umbel get %s` lists them", kind.Singular, details.Name, kind.Plural)
	}
	return fmt.Sprintf("there is no %s %q in namespace %q: `umbel get %s -A` lists all", kind.Singular, details.Name, h.namespace, kind.Plural)
}

// missing returns the name of the object that an API did not find, or nothing when it does not know the kind.
func missing(err error) string {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || status.Status().Details == nil {
		return ""
	}
	return status.Status().Details.Name
}

// reason is what an API says, without what was attempted around it.
func reason(err error) string {
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
		return strings.TrimSuffix(status.Status().Message, ".")
	}
	return err.Error()
}
