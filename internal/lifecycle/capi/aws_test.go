//go:build aws

package capi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/awstest"
	"umbel.dev/umbel/internal/lifecycle/computertest"
	"umbel.dev/umbel/internal/programtest"
)

// TestMachinesBehindABalancerInAWS has Cluster API's provider for AWS, unchanged, run by a hub, make a load balancer, and run a machine of a control
// plane behind it in each of three zones of a simulated account; go on when AWS was away and when it had refused to run a machine; and take all of
// it away. What boots is nothing: that the load balancer leads to each machine is what the account says.
func TestMachinesBehindABalancerInAWS(t *testing.T) {
	w := newWorld(t)
	account := awstest.Start(t, nothing{}, "")
	before := w.holds(account)
	w.serveAWS(account)
	bootstrap := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "bootstrap"}, StringData: map[string]string{"value": "how it begins"}}
	if err := w.Create(t.Context(), bootstrap); err != nil {
		t.Fatal(err)
	}
	made := w.createIn("aws.yaml", "us-east-1", account.Region)
	w.eventually("the load balancer leads to a machine in each zone", 5*time.Minute, func(ctx context.Context) error { return w.leadsToEach(ctx, account) })
	place, cluster := made[0], made[1]
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(place), place); err != nil {
		t.Fatal(err)
	}
	if host, _, _ := unstructured.NestedString(place.Object, "spec", "controlPlaneEndpoint", "host"); !strings.HasSuffix(host, ".amazonaws.com") {
		t.Errorf("the control plane is at %q, which is no load balancer of AWS", host)
	}

	account.Cut()
	held := w.holds(account) // what was on its way may have been done until now
	fourth := w.createIn("aws-2.yaml", "far-d", "far-d")
	if err := w.Patch(t.Context(), place, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"example.com/look":"now"}}}`))); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is said that AWS is away", 2*time.Minute, w.says(place, "connection refused"))
	w.eventually("and so of the machine that waits for it", 2*time.Minute, w.says(fourth[1], "connection refused"))
	if now := w.holds(account); !slices.Equal(now, held) {
		t.Errorf("the account holds %v, and held %v before it was away", now, held)
	}
	if err := account.Mend(); err != nil {
		t.Fatal(err)
	}
	w.eventually("a fourth machine is there", 5*time.Minute, runs(account, 4))

	if err := account.Refuse(t.Context(), "VcpuLimitExceeded", overLimit); err != nil {
		t.Fatal(err)
	}
	more := w.createIn("aws-2.yaml", "far-d", "far-e")
	w.eventually("it is said that no more may run", 2*time.Minute, w.says(more[1], overLimit))
	if err := account.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.eventually("a fifth machine is there", 5*time.Minute, runs(account, 5))

	w.endsIn(cluster, account, before)
}

// overLimit is what AWS says of an account that may not run as many.
const overLimit = "You have requested more vCPU capacity than your current vCPU limit of 16 allows for the instance bucket that the specified instance type belongs to."

// TestAKubeadmControlPlaneInAWS has the same make a cluster by the class of examples/aws/kubeadm.yaml: a control plane of kubeadm, whose machines are
// computers with a kubelet and static pods of etcd and Kubernetes, one in each zone, behind a stand-in for the load balancer; and one that runs a pod. One of them dies: no write that was acknowledged is lost, and others are
// taken. AWS is away meanwhile, which nobody notices who uses the cluster. When it is deleted the account holds what it held before.
func TestAKubeadmControlPlaneInAWS(t *testing.T) {
	w := newWorld(t)
	computers := computertest.New(t, t.TempDir())
	account := awstest.Start(t, booting{computers}, computers.Balancers)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("of its instances the account said\n%s", strings.Join(account.Heard(), "\n"))
		}
	})
	before := w.holds(account)
	w.serveAWS(account)
	w.createIn("../../../../examples/aws/kubeadm.yaml", imageOfExamples, imageOfMoto)
	cluster := w.createIn("aws-kubeadm.yaml", "us-east-1", account.Region)[0]
	w.eventually("there is a node in each zone, and one more for pods", 15*time.Minute, func(ctx context.Context) error { return w.nodeInEach(ctx, account) })
	w.eventually("a pod runs", 2*time.Minute, w.runsAPod)
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(cluster), cluster); err != nil {
		t.Fatal(err)
	}
	name, _, _ := unstructured.NestedString(cluster.Object, "spec", "infrastructureRef", "name")
	place := object("AWSCluster", name)
	place.SetAPIVersion("infrastructure.cluster.x-k8s.io/v1beta2")
	w.eventually("the load balancer leads to each of them", time.Minute, func(ctx context.Context) error { return w.leadsToEach(ctx, account) })

	for n := range 20 {
		w.write(n)
	}
	account.Cut()
	dead := planes(account)[0]
	if err := computers.Cut(dead.Name); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for n := range 20 {
		w.write(20 + n)
	}
	t.Logf("without %s in %s, and without AWS, 20 writes took %s", dead.Name, dead.Zone, time.Since(begun).Round(100*time.Millisecond))
	w.written(40)
	if err := w.Patch(t.Context(), place, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"example.com/look":"now"}}}`))); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is said that AWS is away", 2*time.Minute, w.says(place, "connection refused"))
	if err := account.Mend(); err != nil {
		t.Fatal(err)
	}

	w.endsIn(cluster, account, before)
	if left := computers.Booted(); len(left) > 0 {
		t.Errorf("computers are left: %v", left)
	}
}

// serveAWS runs a hub with the provider for AWS, and has that know the account.
func (w *world) serveAWS(account *awstest.Account) {
	w.Helper()
	aws := FolderOf(w.hub().dir, "aws")
	if err := errors.Join(
		os.MkdirAll(string(aws), 0o700),
		os.Symlink(programtest.Of(w, "capa"), aws.Program()), os.Symlink(programtest.Of(w, "capa.yaml"), aws.Components()),
		w.Create(w.Context(), &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "aws"}, Spec: v1alpha1.ProviderSpec{Args: []string{"--service-endpoints=" + account.Endpoints()}}}),
	); err != nil {
		w.Fatal(err)
	}
	w.eventually("the provider for AWS serves", 5*time.Minute, w.reason("aws", v1alpha1.ReasonServing))
	w.createIn("../../../../examples/aws/class.yaml", imageOfExamples, imageOfMoto)
	_ = w.Create(w.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}) // it may be there
	credentials := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "aws"}, StringData: map[string]string{"AccessKeyID": account.Key, "SecretAccessKey": account.Secret},
	}
	if err := w.Create(w.Context(), credentials); err != nil {
		w.Fatal(err)
	}
}

const (
	imageOfExamples = "ami-0123456789abcdef0"
	imageOfMoto     = "ami-03cf127a"
)

// planes are the instances of a control plane that run in an account.
func planes(account *awstest.Account) []awstest.Instance {
	return slices.DeleteFunc(account.Running(), func(i awstest.Instance) bool { return strings.HasPrefix(i.Name, "far-workers-") })
}

// runsAPod checks that a pod is ready in the cluster far. Nodes of its control plane take none.
func (w *world) runsAPod(ctx context.Context) error {
	c, err := w.far(ctx)
	if err != nil {
		return err
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "first"}}
	pod.Spec.Containers = []corev1.Container{{Name: "pause", Image: "registry.umbel.dev/pause:v1"}}
	if err := c.Create(ctx, pod); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
		return err
	}
	if !slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	}) || !strings.HasPrefix(pod.Spec.NodeName, "far-workers-") {
		return fmt.Errorf("on node %q it is %+v", pod.Spec.NodeName, pod.Status)
	}
	return nil
}

// endsIn deletes a cluster, after which the account holds what it held before.
func (w *world) endsIn(cluster *unstructured.Unstructured, account *awstest.Account, before []string) {
	w.Helper()
	if err := w.Delete(w.Context(), cluster); err != nil {
		w.Fatal(err)
	}
	w.eventually("the cluster is gone", 5*time.Minute, w.gone(cluster))
	w.eventually("the account holds what it held before", time.Minute, func(context.Context) error { // an interface goes when its instance has ended
		if left := w.holds(account); !slices.Equal(left, before) {
			return fmt.Errorf("it holds %v, and held %v", left, before)
		}
		return nil
	})
}

// says checks that an object has a condition with these words.
func (w *world) says(o *unstructured.Unstructured, words string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
		for _, one := range conditions {
			c, _ := one.(map[string]any)
			if message := fmt.Sprint(c["message"]); c["status"] != "True" && strings.Contains(message, words) {
				w.Logf("%s %s: %v: %s", o.GetKind(), o.GetName(), c["type"], message)
				return nil
			}
		}
		return fmt.Errorf("it says %v", conditions)
	}
}

// runs checks how many instances run in an account.
func runs(account *awstest.Account, want int) func(context.Context) error {
	return func(context.Context) error {
		if running := account.Running(); len(running) != want {
			return fmt.Errorf("%v run", running)
		}
		return nil
	}
}

// leadsToEach checks that a load balancer leads to the three instances of a control plane, each in another zone.
func (w *world) leadsToEach(ctx context.Context, account *awstest.Account) error {
	all, err := account.Holds(ctx)
	if err != nil {
		return err
	}
	var balancers, got, want, zones []string
	for _, one := range all {
		if kind, name, _ := strings.Cut(one, ": "); kind == "load balancers" {
			balancers = append(balancers, name)
		} else if kind == "targets" {
			got = append(got, name)
		}
	}
	for _, i := range planes(account) {
		want, zones = append(want, i.ID+":6443"), append(zones, i.Zone)
	}
	slices.Sort(zones)
	slices.Sort(want)
	if len(balancers) != 1 || !slices.Equal(got, want) || !slices.Equal(zones, []string{"us-east-1a", "us-east-1b", "us-east-1c"}) {
		return fmt.Errorf("the load balancers %v lead to %v, and %v run in %v", balancers, got, want, zones)
	}
	return nil
}

func (w *world) holds(account *awstest.Account) []string {
	w.Helper()
	all, err := account.Holds(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return all
}

// far returns a client of the cluster far, by the kubeconfig that its control plane says.
func (w *world) far(ctx context.Context) (client.Client, error) {
	var secret corev1.Secret
	if err := w.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "far-kubeconfig"}, &secret); err != nil {
		return nil, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(secret.Data["value"])
	if err != nil {
		return nil, err
	}
	config.Timeout = 5 * time.Second
	return client.New(config, client.Options{Scheme: w.Scheme()})
}

// nodeInEach checks that the Ready nodes of the cluster are the instances that run: three, each in another zone, and one beside the first.
func (w *world) nodeInEach(ctx context.Context, account *awstest.Account) error {
	c, err := w.far(ctx)
	if err != nil {
		return err
	}
	var nodes corev1.NodeList
	if err := c.List(ctx, &nodes); err != nil {
		return err
	}
	var ready, want, zones []string
	for _, n := range nodes.Items {
		if slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		}) {
			ready = append(ready, n.Spec.ProviderID)
		}
	}
	for _, i := range account.Running() {
		want, zones = append(want, i.ProviderID()), append(zones, i.Zone)
	}
	slices.Sort(ready)
	slices.Sort(want)
	slices.Sort(zones)
	if !slices.Equal(ready, want) || !slices.Equal(zones, []string{"us-east-1a", "us-east-1a", "us-east-1b", "us-east-1c"}) {
		return fmt.Errorf("the nodes that are Ready are %v, and %v run in %v", ready, want, zones)
	}
	return nil
}

// write writes a ConfigMap into the cluster far until that is acknowledged.
func (w *world) write(n int) {
	w.Helper()
	var last error
	err := wait.PollUntilContextTimeout(w.Context(), 100*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		c, err := w.far(ctx)
		if err == nil {
			err = c.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: fmt.Sprintf("written-%d", n)}})
		}
		last = err
		return err == nil || apierrors.IsAlreadyExists(err), nil
	})
	if err != nil {
		w.Fatalf("write %d was not taken: %v", n, last)
	}
}

// written checks that all that was acknowledged is there.
func (w *world) written(want int) {
	w.Helper()
	w.eventually("all that was written is there", time.Minute, func(ctx context.Context) error {
		c, err := w.far(ctx)
		if err != nil {
			return err
		}
		for n := range want {
			if err := c.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: fmt.Sprintf("written-%d", n)}, &corev1.ConfigMap{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// nothing is the computer of a test that boots nothing.
type nothing struct{}

// Boot implements awstest.Computer.
func (nothing) Boot(context.Context, awstest.Instance) (string, error) { return "", nil }

// End implements awstest.Computer.
func (nothing) End(context.Context, awstest.Instance) error { return nil }

// booting are computers that boot by their user data.
type booting struct{ *computertest.Computers }

// Boot implements awstest.Computer.
func (b booting) Boot(ctx context.Context, i awstest.Instance) (string, error) {
	return b.Computers.Boot(ctx, computertest.Computer{Name: i.Name, ProviderID: i.ProviderID(), UserData: i.UserData})
}

// End implements awstest.Computer.
func (b booting) End(ctx context.Context, i awstest.Instance) error {
	return b.Computers.End(ctx, i.Name)
}
