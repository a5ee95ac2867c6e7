package cluster

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// foreign makes a Cluster with all that somebody else's tools and controllers would have made of it: its API is the hub's own.
func (d *desk) foreign(name string) []*unstructured.Unstructured {
	d.Helper()
	return d.foreignIn("default", name)
}

func (d *desk) foreignIn(namespace, name string) []*unstructured.Unstructured {
	d.Helper()
	of := map[string]string{"cluster.x-k8s.io/cluster-name": name}
	cluster := object("Cluster", namespace, name, map[string]any{"spec": map[string]any{"paused": false, "controlPlaneEndpoint": map[string]any{"host": "192.0.2.7", "port": int64(6443)}}})
	cluster.SetLabels(map[string]string{"env": "prod", "cluster.x-k8s.io/provider": "x"})
	cluster.SetFinalizers([]string{"cluster.cluster.x-k8s.io"})
	machine := object("Machine", namespace, name+"-1", map[string]any{"spec": map[string]any{
		"clusterName": name, "bootstrap": map[string]any{"dataSecretName": "none"},
		"infrastructureRef": map[string]any{"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "SomebodysMachine", "name": name + "-1"},
	}})
	machine.SetLabels(of)
	kubeconfig, err := os.ReadFile(d.kubeconfig)
	if err != nil {
		d.Fatal(err)
	}
	secret := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "stringData": map[string]any{"value": string(kubeconfig)}}}
	secret.SetNamespace(namespace)
	secret.SetName(name + "-kubeconfig")
	return []*unstructured.Unstructured{d.create(&cluster), d.create(&machine), d.create(secret)}
}

// versions are the resource versions of objects: each write of one changes its own.
func (d *desk) versions(objects []*unstructured.Unstructured) (versions []string) {
	d.Helper()
	for _, o := range objects {
		now := o.DeepCopy()
		if err := d.hub.Get(d.Context(), kube.ObjectKeyFromObject(o), now); err != nil {
			d.Fatal(err)
		}
		versions = append(versions, fmt.Sprintf("%s %s: %s, generation %d", o.GetKind(), o.GetName(), now.GetResourceVersion(), now.GetGeneration()))
	}
	return versions
}

// serves plays the hub and the agent: it says where the hub is, and that the agent of a member is connected once the member is there.
func (d *desk) serves(name string) (connected chan struct{}) {
	d.Helper()
	for _, namespace := range []string{v1alpha1.SystemNamespace, v1alpha1.AgentNamespace} {
		if err := d.hub.Create(d.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil && !apierrors.IsAlreadyExists(err) {
			d.Fatal(err)
		}
	}
	info := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap},
		Data:       map[string]string{v1alpha1.HubInfoAddress: "192.0.2.1:7443", v1alpha1.HubInfoCA: "the hub's CA", v1alpha1.HubInfoAgentImage: "192.0.2.1:7443/umbel/agent:v1"},
	}
	if err := d.hub.Create(d.Context(), info); err != nil && !apierrors.IsAlreadyExists(err) {
		d.Fatal(err)
	}
	connected = make(chan struct{})
	go func() {
		defer close(connected)
		d.eventually("the member is there", func(ctx context.Context) error {
			member := &v1alpha1.MemberCluster{}
			if err := d.hub.Get(ctx, kube.ObjectKey{Name: name}, member); err != nil {
				return err
			}
			meta.SetStatusCondition(&member.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionConnected, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonProbeAnswered})
			return d.hub.Status().Update(ctx, member)
		})
	}()
	d.Cleanup(func() {
		ctx := context.WithoutCancel(d.Context())
		_ = d.hub.Delete(ctx, &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}})
		_ = d.hub.Delete(ctx, info)
		_ = d.hub.DeleteAllOf(ctx, &corev1.Secret{}, kube.InNamespace(v1alpha1.AgentNamespace))
		_ = d.hub.DeleteAllOf(ctx, &appsv1.Deployment{}, kube.InNamespace(v1alpha1.AgentNamespace))
	})
	return connected
}

// TestAClusterIsAdopted of the hub's own API and of another one's, and no object of Cluster API is written.
func TestAClusterIsAdopted(t *testing.T) {
	for _, test := range []struct {
		reason string
		args   []string
		member string
		notes  map[string]string
	}{
		{"a Cluster of the hub's API", []string{"--label", "team=shop"}, "ours", map[string]string{v1alpha1.ManagedAnnotation: "default/ours"}},
		{"one of another management cluster", []string{"--from", "HUB", "--as", "shop-us", "--level", "observed"}, "shop-us", map[string]string{v1alpha1.AdoptedAnnotation: "WHERE default/theirs"}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			d := newDesk(t)
			name := map[bool]string{true: "ours", false: "theirs"}[test.member == "ours"]
			objects := d.foreign(name)
			before := d.versions(objects)
			args := append([]string{"adopt", name}, test.args...)
			for i := range args {
				args[i] = strings.Replace(args[i], "HUB", d.kubeconfig, 1)
			}
			out, _, err := d.umbel(append(args, "--dry-run")...)
			if err != nil || !strings.Contains(out, "Machine "+name+"-1") || !strings.Contains(out, "would become a member") {
				t.Fatalf("the dry run: %s, %v", out, err)
			}
			member := &v1alpha1.MemberCluster{}
			if err := d.hub.Get(t.Context(), kube.ObjectKey{Name: test.member}, member); !apierrors.IsNotFound(err) {
				t.Fatalf("a dry run made a member: %v", err)
			}
			connected := d.serves(test.member)
			if out, errs, err := d.umbel(args...); err != nil || !strings.Contains(out, "cluster "+test.member+" is adopted") {
				t.Fatalf("%s%s, %v", out, errs, err)
			}
			<-connected
			if diff := gocmp.Diff(before, d.versions(objects)); diff != "" {
				t.Errorf("it was written (-before +after):\n%s", diff)
			}
			if err := d.hub.Get(t.Context(), kube.ObjectKey{Name: test.member}, member); err != nil {
				t.Fatal(err)
			}
			for note, want := range test.notes {
				got := member.Annotations[note]
				if where, _, ok := strings.Cut(got, " "); ok && strings.HasPrefix(where, "https://") {
					got = strings.Replace(got, where, "WHERE", 1)
				}
				if got != want || member.Labels["env"] != "prod" || member.Labels["cluster.x-k8s.io/provider"] != "" {
					t.Errorf("%s is %q, and the labels are %v", note, got, member.Labels)
				}
			}
			if owner := ownerOf(member, "f:env"); (owner == "umbel-lifecycle") != (test.member == "ours") {
				t.Errorf("the label of the Cluster is %q's, which takes it away again", owner)
			}
			if want := strings.Contains(strings.Join(args, " "), "observed"); member.Spec.Observed() != want {
				t.Errorf("it is %s", member.Spec.Stands())
			}
			other := d.foreign("other-" + name)
			_, _, err = d.umbel("adopt", other[0].GetName(), "--from", d.kubeconfig, "--as", test.member)
			if err == nil || !strings.Contains(err.Error(), "is taken by a member that is the Cluster") {
				t.Errorf("another Cluster took its place: %v", err)
			}
		})
	}
}

// TestAClusterOfAnotherManagementCluster is adopted and described as the docs say, where that one has an API of its own, which has none of our
// kinds. No object there is written.
func TestAClusterOfAnotherManagementCluster(t *testing.T) {
	api, err := kubetest.Run(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Stop)
	other, d := sit(t, api.Config), newDesk(t)
	if err := other.hub.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "clusters"}}); err != nil {
		t.Fatal(err)
	}
	objects := other.foreignIn("clusters", "shop-us")
	before := other.versions(objects)
	page, err := os.ReadFile("../../../docs/operate/clusters.md")
	if err != nil {
		t.Fatal(err)
	}
	said := func(start string) []string {
		_, rest, found := strings.Cut(string(page), "\n"+start)
		if !found {
			t.Fatalf("docs/operate/clusters.md says no %q", start)
		}
		line, _, _ := strings.Cut(start+rest, "\n")
		return strings.Fields(strings.ReplaceAll(strings.TrimPrefix(line, "umbel cluster "), "management.kubeconfig", other.kubeconfig))
	}

	connected := d.serves("shop-us")
	if out, errs, err := d.umbel(said("umbel cluster adopt shop-us")...); err != nil || !strings.Contains(out, "cluster shop-us is adopted") {
		t.Fatalf("%s%s, %v", out, errs, err)
	}
	<-connected
	member := &v1alpha1.MemberCluster{}
	if err := d.hub.Get(t.Context(), kube.ObjectKey{Name: "shop-us"}, member); err != nil {
		t.Fatal(err)
	}
	if is := member.Annotations[v1alpha1.AdoptedAnnotation]; is != api.Config.Host+" clusters/shop-us" || member.Labels["env"] != "prod" || !member.Spec.Observed() {
		t.Errorf("it says that it is %q, with the labels %v, and is %s", is, member.Labels, member.Spec.Stands())
	}
	describe := said("umbel cluster describe shop-us")
	out, _, err := d.umbel(describe...)
	for i, line := range []string{"Cluster clusters/shop-us", "└─ Machine shop-us-1"} {
		if lines := strings.Split(out, "\n"); err != nil || len(lines) != 3 || !strings.HasPrefix(lines[i], line) {
			t.Errorf("%v: got\n%s, %v; line %d is not of %s", describe, out, err, i+1, line)
		}
	}
	if _, _, err := d.umbel("describe", "shop-us", "-n", "clusters"); err == nil || !strings.Contains(err.Error(), `cluster "shop-us" is attached, and not made by this hub`) {
		t.Errorf("on the hub's own API: %v", err)
	}
	if diff := gocmp.Diff(before, other.versions(objects)); diff != "" {
		t.Errorf("it was written (-before +after):\n%s", diff)
	}
}

// ownerOf returns who is to have written a field of a member.
func ownerOf(member *v1alpha1.MemberCluster, field string) (owners string) {
	for _, entry := range member.ManagedFields {
		if strings.Contains(entry.FieldsV1.GetRawString(), `"`+field+`"`) {
			owners = strings.TrimPrefix(owners+","+entry.Manager, ",")
		}
	}
	return owners
}

// TestWhatIsNotAdopted is said with the reason, and nothing is made.
func TestWhatIsNotAdopted(t *testing.T) {
	d := newDesk(t)
	d.foreign("plain")
	joining := d.cluster("joins", map[string]string{v1alpha1.JoinAnnotation: "true"})
	bare := d.cluster("bare", nil)
	going := d.foreign("going")[0]
	if err := d.hub.Delete(t.Context(), going); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ args, want string }{
		{"adopt nobody", `the hub makes no cluster "nobody" in namespace default`},
		{"adopt " + joining.GetName(), "becomes a member by itself, as its annotation umbel.dev/join says"},
		{"adopt " + bare.GetName(), "has no kubeconfig yet: whoever makes its control plane writes the Secret bare-kubeconfig in namespace default"},
		{"adopt going", "is being deleted since"},
		{"adopt plain --as other", "--as and --from-context go with --from"},
		{"adopt plain --from /nowhere", "--from: reading the kubeconfig of the management cluster, /nowhere"},
		{"adopt plain --label env=dev", "--label env=dev: the Cluster has env=prod, and its member follows it: change it there, by `kubectl label cluster plain -n default env=dev --overwrite`"},
		{"adopt plain --level managed", "a level is observed or attached"},
		{"adopt plain --as No --from " + d.kubeconfig, `the name "No" is none of a member`},
	} {
		_, _, err := d.umbel(strings.Fields(test.args)...)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.args, err, test.want)
		}
	}
	var members v1alpha1.MemberClusterList
	if err := d.hub.List(t.Context(), &members); err != nil || len(members.Items) > 0 {
		t.Errorf("members were made: %v, %v", members.Items, err)
	}
}
