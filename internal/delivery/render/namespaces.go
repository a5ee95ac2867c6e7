package render

import (
	"fmt"
	"strings"
)

// withoutNamespace are Kubernetes' own kinds whose objects have no namespace, as GROUP/KIND.
const withoutNamespace = `
/ComponentStatus /Namespace /Node /PersistentVolume
admissionregistration.k8s.io/MutatingAdmissionPolicy admissionregistration.k8s.io/MutatingAdmissionPolicyBinding
admissionregistration.k8s.io/MutatingWebhookConfiguration admissionregistration.k8s.io/ValidatingAdmissionPolicy
admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding admissionregistration.k8s.io/ValidatingWebhookConfiguration
apiextensions.k8s.io/CustomResourceDefinition apiregistration.k8s.io/APIService
certificates.k8s.io/CertificateSigningRequest certificates.k8s.io/ClusterTrustBundle
flowcontrol.apiserver.k8s.io/FlowSchema flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration
internal.apiserver.k8s.io/StorageVersion storagemigration.k8s.io/StorageVersionMigration
networking.k8s.io/IPAddress networking.k8s.io/IngressClass networking.k8s.io/ServiceCIDR node.k8s.io/RuntimeClass
rbac.authorization.k8s.io/ClusterRole rbac.authorization.k8s.io/ClusterRoleBinding
resource.k8s.io/DeviceClass resource.k8s.io/DeviceTaintRule resource.k8s.io/ResourceSlice scheduling.k8s.io/PriorityClass
storage.k8s.io/CSIDriver storage.k8s.io/CSINode storage.k8s.io/StorageClass storage.k8s.io/VolumeAttachment
storage.k8s.io/VolumeAttributesClass
`

// inNamespace gives objects that name no namespace the one of the release, unless their kind is known to have none: a kind of
// Kubernetes' own, or one whose CustomResourceDefinition is among the objects. Of other kinds the cluster knows, which does
// without a namespace where there is none to be.
func inNamespace(objects []object, namespace string) {
	without := map[string]bool{}
	for _, kind := range strings.Fields(withoutNamespace) {
		without[kind] = true
	}
	for _, o := range objects {
		if o.fields["kind"] != "CustomResourceDefinition" {
			continue
		}
		spec, _ := o.fields["spec"].(map[string]any)
		names, _ := spec["names"].(map[string]any)
		if spec["scope"] == "Cluster" {
			without[fmt.Sprint(spec["group"], "/", names["kind"])] = true
		}
	}
	for _, o := range objects {
		metadata, ok := o.fields["metadata"].(map[string]any)
		id := identify(o.fields)
		if ok && metadata["namespace"] == nil && !without[id.Group()+"/"+id.Kind] {
			metadata["namespace"] = namespace
		}
	}
}
