package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/fleet"
)

// lookTime is how long a cluster may take to say what is in it.
const lookTime = 10 * time.Second

// stakes are what dies with a cluster.
type stakes struct {
	machines []unstructured.Unstructured
	// member is its place in the fleet, nil for none.
	member *v1alpha1.MemberCluster
	// inside is what the cluster itself said, and unknown why it said nothing.
	inside  inside
	unknown error
}

// inside is what dies in the cluster itself.
type inside struct {
	nodes    []corev1.Node
	volumes  []corev1.PersistentVolume
	services []corev1.Service
}

// consent shows what dies with a cluster, and asks whether it may. A deletion that is under way is not asked about again.
func (o *deleteOptions) consent(ctx context.Context, hub *client.Hub, cluster *unstructured.Unstructured) error {
	if cluster.GetDeletionTimestamp() != nil {
		return nil
	}
	if v1alpha1.Protected(cluster.GetAnnotations()) {
		return fmt.Errorf("cluster %q is protected from deletion (metadata.annotations[%s]): `umbel cluster unprotect %s -n %s` takes the protection away",
			o.name, v1alpha1.ProtectedAnnotation, o.name, o.Namespace)
	}
	s, err := weigh(ctx, o.Factory, hub, cluster)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Err, "Cluster %s/%s ends for good, with all that is in it:\n%s", o.Namespace, o.name, s)
	if o.yes {
		return nil
	}
	return confirm(o.Factory, "Delete it?", "nothing was deleted: --yes answers for you")
}

// weigh reads what dies with a cluster: on the hub, and in the cluster as the one who asks may see it.
func weigh(ctx context.Context, f *client.Factory, hub *client.Hub, cluster *unstructured.Unstructured) (stakes, error) {
	var s stakes
	var err error
	s.machines, err = list(ctx, hub, kind("Machine"), kube.InNamespace(cluster.GetNamespace()), kube.MatchingLabels{"cluster.x-k8s.io/cluster-name": cluster.GetName()})
	if err != nil {
		return s, err
	}
	member := &v1alpha1.MemberCluster{}
	err = hub.Get(ctx, kube.ObjectKey{Name: cluster.GetName()}, member)
	if kube.IgnoreNotFound(err) != nil {
		return s, err
	}
	if apierrors.IsNotFound(err) || member.Annotations[v1alpha1.ManagedAnnotation] != cluster.GetNamespace()+"/"+cluster.GetName() {
		s.unknown = errors.New("it is no member of the fleet")
		return s, nil
	}
	s.member = member
	ways, err := fleet.Members(ctx, f, hub, []v1alpha1.MemberCluster{*member})
	if err == nil {
		err = ways[0].Gone
	}
	if err == nil {
		s.inside, err = look(ctx, ways[0].Config)
	}
	s.unknown = err
	return s, nil
}

// look asks a cluster what is in it that dies with it, or costs something elsewhere.
func look(ctx context.Context, config *rest.Config) (in inside, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	c, err := kube.New(config, kube.Options{})
	if err != nil {
		return in, err
	}
	var (
		nodes    corev1.NodeList
		volumes  corev1.PersistentVolumeList
		services corev1.ServiceList
	)
	for _, l := range []kube.ObjectList{&nodes, &volumes, &services} {
		if err := c.List(ctx, l); err != nil {
			return in, err
		}
	}
	balanced := slices.DeleteFunc(services.Items, func(s corev1.Service) bool { return s.Spec.Type != corev1.ServiceTypeLoadBalancer })
	return inside{nodes.Items, volumes.Items, balanced}, nil
}

// String has a line for each kind of what dies. What is not known is said so, and is not nothing.
func (s stakes) String() string {
	var b strings.Builder
	line := func(what string, all []string) {
		if len(all) == 0 {
			all = []string{"none"}
		}
		fmt.Fprintf(&b, "  %-15s %s\n", what, strings.Join(all, ", "))
	}
	line("machines", each(s.machines, func(m unstructured.Unstructured) string { return m.GetName() }))
	if s.member != nil {
		line("packages", each(s.member.Status.Packages, func(p v1alpha1.MemberPackage) string { return string(p.Package) }))
	}
	if s.unknown != nil {
		fmt.Fprintf(&b, "  %-15s unknown: %s\n", "nodes, volumes", s.unknown)
		return b.String()
	}
	line("nodes", each(s.inside.nodes, func(n corev1.Node) string { return n.Name }))
	line("volumes", each(s.inside.volumes, volume))
	line("load balancers", each(s.inside.services, loadBalancer))
	return b.String()
}

// volume tells how much it is, who asked for it, and what becomes of it.
func volume(v corev1.PersistentVolume) string {
	who := "nobody's"
	if claim := v.Spec.ClaimRef; claim != nil {
		who = "of claim " + claim.Namespace + "/" + claim.Name
	}
	size := v.Spec.Capacity[corev1.ResourceStorage]
	text := fmt.Sprintf("%s %s, %s", size.String(), who, cmp.Or(v.Spec.PersistentVolumeReclaimPolicy, corev1.PersistentVolumeReclaimRetain))
	if v.Spec.CSI != nil {
		text += ", " + v.Spec.CSI.VolumeHandle
	}
	return v.Name + " (" + text + ")"
}

// costs are what outlives the cluster where it is when nobody ends it: volumes, and load balancers.
func (s stakes) costs() []string {
	if s.unknown != nil {
		return []string{"unknown: " + s.unknown.Error()}
	}
	return append(each(s.inside.volumes, func(v corev1.PersistentVolume) string { return "volume " + volume(v) }),
		each(s.inside.services, func(s corev1.Service) string { return "load balancer " + loadBalancer(s) })...)
}

// loadBalancer tells whose it is, and where.
func loadBalancer(s corev1.Service) string {
	at := each(s.Status.LoadBalancer.Ingress, func(i corev1.LoadBalancerIngress) string { return cmp.Or(i.IP, i.Hostname) })
	if len(at) == 0 {
		return s.Namespace + "/" + s.Name
	}
	return s.Namespace + "/" + s.Name + " at " + strings.Join(at, " ")
}

func each[T any](all []T, text func(T) string) []string {
	var texts []string
	for _, one := range all {
		texts = append(texts, text(one))
	}
	return texts
}
