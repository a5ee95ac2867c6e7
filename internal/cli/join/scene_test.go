package join

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(standInDir); dir != "" {
		os.Exit(standIn(dir))
	}
	os.Exit(kubetest.Main(m))
}

// scene is a hub and a cluster, on one API, in which the test plays the hub's controllers, the cluster's and the agent.
type scene struct {
	*testing.T
	api kube.WithWatch
	hub *client.Hub
	o   *Options
}

func newScene(t *testing.T) *scene {
	t.Helper()
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	writeKubeconfig(t, config, kubeconfig)
	now := time.Now()
	f := &client.Factory{Streams: output.Streams{Out: io.Discard, Err: io.Discard}, Kubeconfig: kubeconfig}
	f.Now = func() time.Time { now = now.Add(7 * time.Second); return now } // whoever waits sees time fly
	hub, err := f.Connect()
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{T: t, api: hub.WithWatch, hub: hub, o: &Options{
		Factory: f, Name: "prod-eu", Member: kubeconfig, Labels: map[string]string{"env": "prod"}, Agent: Deployment,
		Timeout: 2 * time.Minute, Progress: progress.New(io.Discard, progress.Lines, time.Now),
	}}
	s.empty()
	return s
}

// empty takes away what an earlier scene left, and lets the hub say where it is.
func (s *scene) empty() {
	s.Helper()
	for _, name := range []string{v1alpha1.SystemNamespace, v1alpha1.AgentNamespace} {
		err := s.api.Create(s.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			s.Fatal(err)
		}
		for _, kind := range []kube.Object{&corev1.Secret{}, &corev1.Pod{}, &corev1.ConfigMap{}, &appsv1.Deployment{}} {
			if err := s.api.DeleteAllOf(s.Context(), kind, kube.InNamespace(name), kube.GracePeriodSeconds(0)); err != nil {
				s.Fatal(err)
			}
		}
	}
	for _, kind := range []kube.Object{&v1alpha1.MemberCluster{}, &storagev1.StorageClass{}} {
		if err := s.api.DeleteAllOf(s.Context(), kind); err != nil {
			s.Fatal(err)
		}
	}
	s.release(&v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "prod-eu"}})
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.AgentNamespace, Name: stateClaim}}
	if err := s.api.Delete(s.Context(), claim.DeepCopy()); err != nil && !apierrors.IsNotFound(err) {
		s.Fatal(err)
	}
	s.release(claim)
	s.create(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap},
		Data: map[string]string{
			v1alpha1.HubInfoAddress: "192.0.2.1:7443", v1alpha1.HubInfoCA: "the hub's CA", v1alpha1.HubInfoAgentImage: "192.0.2.1:7443/umbel/agent:v1",
		},
	})
}

// release takes the finalizers off an object, as the controllers would that this API lacks.
func (s *scene) release(o kube.Object) {
	s.Helper()
	err := s.api.Get(s.Context(), kube.ObjectKeyFromObject(o), o)
	if err == nil && len(o.GetFinalizers()) > 0 {
		o.SetFinalizers(nil)
		err = s.api.Update(s.Context(), o)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		s.Fatal(err)
	}
}

func (s *scene) create(o kube.Object) {
	s.Helper()
	if err := s.api.Create(s.Context(), o); err != nil {
		s.Fatal(err)
	}
}

// member puts a MemberCluster into the hub, whose agent has the key, or none, and is connected or not.
func (s *scene) member(key string, connected metav1.ConditionStatus) {
	s.Helper()
	s.create(&v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "prod-eu", Labels: map[string]string{"region": "eu"}}})
	if key != "" {
		s.says(key, connected)
	}
}

// imported puts a MemberCluster into the hub as umbel import does.
func (s *scene) imported(issuer string) {
	s.Helper()
	s.create(&v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "prod-eu", Annotations: map[string]string{
		v1alpha1.ImportedAnnotation: "projects/1/locations/eu/attachedClusters/shop", v1alpha1.IssuerAnnotation: issuer,
	}}})
}

// says makes the hub say that a key is pinned, and whether its agent is connected.
func (s *scene) says(key string, connected metav1.ConditionStatus) {
	s.Helper()
	member := &v1alpha1.MemberCluster{}
	err := s.api.Get(s.Context(), kube.ObjectKey{Name: "prod-eu"}, member)
	before := member.DeepCopy()
	member.Status.Identity = &v1alpha1.MemberIdentity{KeyFingerprint: key}
	member.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionConnected, Status: connected, Reason: "Told", Message: "the hub says so", LastTransitionTime: metav1.Now(),
	}}
	if err == nil {
		err = s.api.Status().Patch(s.Context(), member, kube.MergeFrom(before)) // whoever joins may write it meanwhile
	}
	if err != nil {
		s.Error(err)
	}
}

// installed puts into the cluster what joining it earlier left there, and the key that its agent made.
func (s *scene) installed(key string) {
	s.Helper()
	target, err := openMember(s.o.Member, "")
	if err != nil {
		s.Fatal(err)
	}
	boot := v1alpha1.Bootstrap{Cluster: "prod-eu", Address: "192.0.2.1:7443", CA: "the hub's CA", Token: "the first token"}
	if _, err := target.install(s.Context(), installation{boot: boot, image: "192.0.2.1:7443/umbel/agent:v1"}, found{}); err != nil {
		s.Fatal(err)
	}
	if key != "" {
		s.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: v1alpha1.AgentNamespace, Name: identity.MemberSecret, Annotations: map[string]string{identity.FingerprintAnnotation: key},
		}})
	}
}

// meanwhile does something once what it waits for is there, and returns a function that waits for its end.
func (s *scene) meanwhile(ready func(ctx context.Context) error, do func()) (done func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := wait.PollUntilContextTimeout(s.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			return ready(ctx) == nil, nil
		})
		if err != nil {
			s.Errorf("what the test waits for does not come: %v", err)
			return
		}
		do()
	}()
	return func() { <-ended }
}

func (s *scene) tokenMade(ctx context.Context) error {
	return s.api.Get(ctx, kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret("prod-eu")}, &corev1.Secret{})
}

// boot returns what the agent is given to find its hub.
func (s *scene) boot() (boot v1alpha1.Bootstrap) {
	s.Helper()
	var secret corev1.Secret
	if err := s.api.Get(s.Context(), kube.ObjectKey{Namespace: v1alpha1.AgentNamespace, Name: "umbel-agent-bootstrap"}, &secret); err != nil {
		s.Fatal(err)
	}
	if err := json.Unmarshal(secret.Data["bootstrap.json"], &boot); err != nil {
		s.Fatal(err)
	}
	return boot
}

func (s *scene) deployment() *appsv1.Deployment {
	s.Helper()
	deployment := &appsv1.Deployment{}
	if err := s.api.Get(s.Context(), kube.ObjectKey{Namespace: v1alpha1.AgentNamespace, Name: "umbel-agent"}, deployment); err != nil {
		s.Fatal(err)
	}
	return deployment
}

// has says which of the hub's and the cluster's objects exist that joining makes.
func (s *scene) has() (things []string) {
	s.Helper()
	for name, o := range map[string]kube.Object{
		"token":      &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "join-prod-eu"}},
		"deployment": &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.AgentNamespace, Name: "umbel-agent"}},
	} {
		err := s.api.Get(s.Context(), kube.ObjectKeyFromObject(o), o)
		if err == nil {
			things = append(things, name)
		} else if !apierrors.IsNotFound(err) {
			s.Fatal(err)
		}
	}
	return things
}

func (s *scene) labels(want map[string]string) {
	s.Helper()
	member := &v1alpha1.MemberCluster{}
	if err := s.api.Get(s.Context(), kube.ObjectKey{Name: "prod-eu"}, member); err != nil {
		s.Fatal(err)
	}
	if diff := cmp.Diff(want, member.Labels); diff != "" {
		s.Errorf("labels (-want +got):\n%s", diff)
	}
}

func (s *scene) joins() {
	s.Helper()
	if err := Run(s.Context(), s.o, s.hub); err != nil {
		s.Fatal(err)
	}
}

func (s *scene) refused(words ...string) {
	s.Helper()
	mustSay(s.T, Run(s.Context(), s.o, s.hub), words...)
}

// replaced says whether the Deployment was changed and has the image.
func (s *scene) replaced(image string) error {
	deployment := &appsv1.Deployment{}
	err := s.api.Get(s.Context(), kube.ObjectKey{Namespace: v1alpha1.AgentNamespace, Name: "umbel-agent"}, deployment)
	if err == nil && (deployment.Generation < 2 || deployment.Spec.Template.Spec.Containers[0].Image != image) {
		err = errors.New("it is as it was")
	}
	return err
}

// runs plays the cluster's controllers: the pod of the Deployment, as it is now, runs.
func (s *scene) runs() {
	s.Helper()
	deployment := &appsv1.Deployment{}
	err := s.api.Get(s.Context(), kube.ObjectKey{Namespace: v1alpha1.AgentNamespace, Name: "umbel-agent"}, deployment)
	before := deployment.DeepCopy()
	deployment.Status = appsv1.DeploymentStatus{
		ObservedGeneration: deployment.Generation, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1,
	}
	if err == nil {
		err = s.api.Status().Patch(s.Context(), deployment, kube.MergeFrom(before))
	}
	if err != nil {
		s.Error(err)
	}
}

func caPEM(t *testing.T) []byte {
	t.Helper()
	ca, err := identity.NewCA("hub", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca.CertPEM()
}

func writeKubeconfig(t *testing.T, config *rest.Config, path string) {
	t.Helper()
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		CurrentContext: "c",
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c", AuthInfo: "c"}},
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"c": {ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}},
	}, path)
	if err != nil {
		t.Fatal(err)
	}
}
