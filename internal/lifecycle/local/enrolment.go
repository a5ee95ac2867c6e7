package local

import (
	"context"
	_ "embed"
	"encoding/base64"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
)

//go:embed enrolment.yaml
var enrolmentManifest string

// enrolmentObjects returns what `kubeadm join` reads of a cluster, and what its machines may do before they are nodes.
func enrolmentObjects(spec machine.Spec, url string, ca []byte) ([]*unstructured.Unstructured, error) {
	return decode("enrolment.yaml", strings.NewReplacer(
		"${CLUSTER}", spec.Cluster,
		"${URL}", url,
		"${ENDPOINT}", strings.TrimPrefix(url, "https://"),
		"${CA}", base64.StdEncoding.EncodeToString(ca),
		"${VERSION}", spec.Version,
		"${PODS}", spec.PodCIDR.String(),
		"${SERVICES}", spec.ServiceCIDR.String(),
		"${DNS_ADDRESS}", spec.DNSAddress().String(),
	).Replace(enrolmentManifest))
}

// installEnrolment lets machines join that are made elsewhere. Where none are, it does nothing.
func (h *healing) installEnrolment(ctx context.Context) error {
	if h.record.Enrolment != controlplane.ByToken {
		return nil
	}
	ca, err := os.ReadFile(h.plane.CAFile())
	if err != nil {
		return err
	}
	objects, err := enrolmentObjects(h.main.spec, h.plane.URL(), ca)
	if err != nil {
		return err
	}
	return h.apply(ctx, objects)
}
