package hosted

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/contract"
	"umbel.dev/umbel/internal/lifecycle/local"
)

// What Cluster API's contract v1beta2 says of its own kinds. These few fields are read as they are: its module of types would
// bring newer versions of what Kubernetes' own modules are made of.

// Group is that of Cluster API's kinds.
const Group = "cluster.x-k8s.io"

var (
	clusterKind = schema.GroupVersionKind{Group: Group, Version: "v1beta2", Kind: "Cluster"}
	machineKind = schema.GroupVersionKind{Group: Group, Version: "v1beta2", Kind: "Machine"}
	checkKind   = schema.GroupVersionKind{Group: Group, Version: "v1beta2", Kind: "MachineHealthCheck"}
	placeKind   = infra.GroupVersion.WithKind("HostedCluster")
)

const (
	clusterLabel         = Group + "/cluster-name"
	pausedAnnotation     = Group + "/paused"
	managedByAnnotation  = Group + "/managed-by"
	secretType           = corev1.SecretType(Group + "/secret")
	secretValue          = "value"
	secretFormat         = "format"
	kubeconfigSuffix     = "-kubeconfig"
	caSuffix             = "-ca"
	noKey                = "the key of this CA is where the control plane is\n"
	failureDomain        = "this-machine"
	bootstrapFormat      = "umbel-local"
	kubeconfigUser       = "umbel:cluster-api"
	validUntilAnnotation = "infrastructure.umbel.dev/valid-until"
)

func newObject(kind schema.GroupVersionKind) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(kind)
	return o
}

// family is what an object of ours belongs to. What is not there is nil.
type family struct {
	cluster *unstructured.Unstructured
	machine *unstructured.Unstructured
	// name is that of the Cluster, which an object knows before and after that is there.
	name string
}

// familyOf returns the Cluster of an object, and the Machine that owns it.
func familyOf(ctx context.Context, c client.Reader, object client.Object) (family, error) {
	f := family{name: object.GetLabels()[clusterLabel]}
	for _, ref := range object.GetOwnerReferences() {
		group, err := schema.ParseGroupVersion(ref.APIVersion)
		if err != nil || group.Group != Group {
			continue
		}
		switch ref.Kind {
		case clusterKind.Kind:
			f.name = ref.Name
			if f.cluster, err = get(ctx, c, clusterKind, client.ObjectKey{Namespace: object.GetNamespace(), Name: ref.Name}); err != nil {
				return f, err
			}
		case machineKind.Kind:
			if f.machine, err = get(ctx, c, machineKind, client.ObjectKey{Namespace: object.GetNamespace(), Name: ref.Name}); err != nil {
				return f, err
			}
		}
	}
	if f.machine == nil || f.name == "" {
		return f, nil
	}
	var err error
	f.cluster, err = get(ctx, c, clusterKind, client.ObjectKey{Namespace: object.GetNamespace(), Name: f.name})
	return f, err
}

func get(ctx context.Context, c client.Reader, kind schema.GroupVersionKind, key client.ObjectKey) (*unstructured.Unstructured, error) {
	o := newObject(kind)
	err := c.Get(ctx, key, o)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", kind.Kind, key, err)
	}
	return o, nil
}

// hosted is the cluster as package local knows it.
func (f family) hosted(namespace string) local.Hosted {
	return local.Hosted{Name: f.name, Owner: namespace + "/" + f.name}
}

func field[T any](o *unstructured.Unstructured, path ...string) T {
	var none T
	if o == nil {
		return none
	}
	value, _, err := unstructured.NestedFieldNoCopy(o.Object, path...)
	if err != nil {
		return none
	}
	typed, ok := value.(T)
	if !ok {
		return none
	}
	return typed
}

// orphaned says whether a Secret of the cluster has lost its owner, as those have that come back from a backup without any: it is taken back.
func (f family) orphaned(secret *corev1.Secret) bool {
	return secret.Type == secretType && secret.Labels[clusterLabel] == f.name && metav1.GetControllerOf(secret) == nil
}

// nodeLabels are those of the Machine that its Node has too, and nodeTaints its taints. Cluster API keeps both on the Node; it begins with
// them.
func (f family) nodeLabels() map[string]string {
	labels := map[string]string{}
	for key, value := range f.machine.GetLabels() {
		if v1alpha1.ReachesNodes(key) {
			labels[key] = value
		}
	}
	return labels
}

func (f family) nodeTaints() []corev1.Taint {
	return contract.Taints(field[[]any](f.machine, "spec", "taints"))
}

// provisioned says whether the Cluster has its infrastructure, initialized whether its API has served.
func (f family) provisioned() bool {
	return field[bool](f.cluster, "status", "initialization", "infrastructureProvisioned")
}

func (f family) initialized() bool {
	return field[bool](f.cluster, "status", "initialization", "controlPlaneInitialized")
}

// hibernated says whether the cluster's processes are to end, and keep their data. Cluster API is paused meanwhile, for it would replace
// machines that do not answer; its provider is not.
func (f family) hibernated() bool {
	return f.cluster != nil && v1alpha1.Hibernated(f.cluster.GetAnnotations())
}

// elsewhere says whether the cluster's machines are another provider's: it has a control plane here, and nothing else.
func (f family) elsewhere() bool {
	kind := field[string](f.cluster, "spec", "infrastructureRef", "kind")
	return kind != "" && kind != placeKind.Kind
}

// paused says whether an object is to be left alone.
func (f family) paused(object client.Object) bool {
	if f.hibernated() {
		return false
	}
	_, paused := object.GetAnnotations()[pausedAnnotation]
	return paused || field[bool](f.cluster, "spec", "paused")
}

// stays says why something that is being deleted does not end, and what to do; empty for what ends. Whoever deletes a namespace is
// refused its protected Clusters, and goes on with all else there is in it.
func (f family) stays(object client.Object) string {
	if object.GetDeletionTimestamp().IsZero() || !controllerutil.ContainsFinalizer(object, infra.Finalizer) || f.cluster == nil ||
		!f.cluster.GetDeletionTimestamp().IsZero() || !v1alpha1.Protected(f.cluster.GetAnnotations()) {
		return ""
	}
	return fmt.Sprintf("it is being deleted, and stays with its data, because Cluster %[1]s is protected and is not being deleted: `umbel cluster unprotect %[1]s -n %[2]s` has it end", f.name, object.GetNamespace())
}

// ranges are the addresses that the Cluster asks for.
func (f family) ranges() (local.Ranges, error) {
	var ranges local.Ranges
	for kind, into := range map[string]*netip.Prefix{"pods": &ranges.Pods, "services": &ranges.Services} {
		blocks := field[[]any](f.cluster, "spec", "clusterNetwork", kind, "cidrBlocks")
		if len(blocks) == 0 {
			continue
		}
		text, _ := blocks[0].(string)
		prefix, err := netip.ParsePrefix(text)
		if err != nil || len(blocks) > 1 {
			return ranges, &refusal{fmt.Sprintf("spec.clusterNetwork.%s.cidrBlocks of the Cluster is %v: it is to be one IPv4 network, or none, and one is chosen", kind, blocks)}
		}
		*into = prefix
	}
	return ranges, nil
}
