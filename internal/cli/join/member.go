package join

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/lifecycle/enrol"
)

// stateClaim is the claim of the volume for the agent's state.
const stateClaim = "umbel-agent-state"

// member is the cluster that joins, reached with the caller's own credentials.
type member struct {
	kube.Client
	server string
	login  login
	// raw asks it for what is no object.
	raw rest.Interface
}

// openMember reads how the cluster is reached. Nobody is asked yet.
func openMember(kubeconfig, kubeContext string) (*member, error) {
	file := memberFile(kubeconfig, kubeContext)
	config, err := file.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's kubeconfig %s: %w", kubeconfig, err)
	}
	whole, err := file.RawConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's kubeconfig %s: %w", kubeconfig, err)
	}
	config.Timeout = 30 * time.Second
	m := &member{server: config.Host, login: loginOf(kubeconfig, &whole, kubeContext)}
	client, raw, err := connect(config, m.login)
	if err != nil {
		return nil, err
	}
	m.raw = raw
	m.Client, err = kube.New(config, kube.Options{HTTPClient: client})
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster at %s (kubeconfig %s): %w", config.Host, kubeconfig, err)
	}
	return m, nil
}

// memberFile is the kubeconfig of the cluster, by one of its contexts.
func memberFile(kubeconfig, kubeContext string) clientcmd.ClientConfig {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: kubeContext})
}

// survey finds out what the cluster holds of an agent already.
func (m *member) survey(ctx context.Context) (here found, err error) {
	fail := func(err error) (found, error) {
		if apierrors.IsForbidden(err) {
			return found{}, fmt.Errorf("looking at what %s holds needs the rights of a cluster administrator: %w", m.server, err)
		}
		if apierrors.IsUnauthorized(err) {
			return found{}, m.login.explain(m.server, err)
		}
		return found{}, fmt.Errorf("looking at what %s holds: %w", m.server, err)
	}
	if err := m.ending(ctx); apierrors.IsUnauthorized(err) {
		return fail(err)
	} else if err != nil {
		return found{}, err
	}
	var bootstrap corev1.Secret
	if err := m.find(ctx, "umbel-agent-bootstrap", &bootstrap); err != nil {
		return fail(err)
	}
	if raw := bootstrap.Data["bootstrap.json"]; raw != nil {
		if err := json.Unmarshal(raw, &here.boot); err != nil {
			here.boot = v1alpha1.Bootstrap{} // whatever it is, no agent can read it: it is written anew
		}
	}
	// Its metadata alone: nobody but the agent reads the key.
	papers := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}}
	if err := m.find(ctx, identity.MemberSecret, papers); err != nil {
		return fail(err)
	}
	here.fingerprint = papers.Annotations[identity.FingerprintAnnotation]
	deployment, claim := &appsv1.Deployment{}, &corev1.PersistentVolumeClaim{}
	if err := m.find(ctx, "umbel-agent", deployment); err != nil {
		return fail(err)
	}
	if deployment.UID != "" {
		here.deployment = deployment
	}
	if err := m.find(ctx, stateClaim, claim); err != nil {
		return fail(err)
	}
	if claim.UID != "" {
		here.claim = claim
	}
	var classes storagev1.StorageClassList
	if err := m.List(ctx, &classes); err != nil {
		return fail(err)
	}
	here.classes = classes.Items
	here.issuer = m.issuer(ctx)
	return here, nil
}

// issuer returns who signs the tokens of the cluster's service accounts; empty where it does not say.
func (m *member) issuer(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var said struct {
		Issuer string `json:"issuer"`
	}
	raw, err := m.raw.Get().AbsPath("/.well-known/openid-configuration").DoRaw(ctx)
	if err != nil || json.Unmarshal(raw, &said) != nil {
		return ""
	}
	return said.Issuer
}

// find reads an object of the agent's namespace; one that is not there stays empty.
func (m *member) find(ctx context.Context, name string, into kube.Object) error {
	return kube.IgnoreNotFound(m.Get(ctx, kube.ObjectKey{Namespace: v1alpha1.AgentNamespace, Name: name}, into))
}

// installation is what is installed on a member.
type installation struct {
	boot v1alpha1.Bootstrap
	// image of the agent; empty when it does not run as a pod.
	image string
	// class is the StorageClass of the volume for the agent's state; empty for a folder of its node.
	class string
	// level says which rights the agent gets.
	level v1alpha1.Level
	// auditLog is which audit log the agent reads; empty for none.
	auditLog enrol.AuditLog
}

// manifests returns what is installed on a member, in the order in which it is applied. Without an image there is no
// Deployment.
func (to installation) manifests() ([]*unstructured.Unstructured, error) {
	return enrol.Agent{Boot: to.boot, Image: to.image, StorageClass: to.class, AuditLog: to.auditLog, Level: to.level}.Manifests()
}

// install applies the manifests. It returns the new generation of a Deployment that was there and was changed, else 0.
func (m *member) install(ctx context.Context, to installation, here found) (replaced int64, err error) {
	objects, err := to.manifests()
	if err != nil {
		return 0, err
	}
	var owner *metav1.OwnerReference
	for _, o := range objects {
		if o.GetKind() == "PersistentVolumeClaim" && here.claim != nil {
			if !here.claim.DeletionTimestamp.IsZero() {
				return 0, fmt.Errorf("claim %s of %s is still being deleted: try again in a moment", stateClaim, m.server)
			}
			continue // a claim cannot be changed, and somebody may have made it larger
		}
		if owner != nil && o.GetNamespace() == "" {
			o.SetOwnerReferences([]metav1.OwnerReference{*owner})
		}
		if err := m.apply(ctx, o); err != nil {
			return 0, err
		}
		switch o.GetKind() {
		case "Namespace":
			if owner, err = m.namespace(ctx); err != nil {
				return 0, err
			}
		case "Deployment":
			if here.deployment != nil && here.deployment.Generation != o.GetGeneration() {
				replaced = o.GetGeneration()
			}
		}
	}
	for _, o := range enrol.OtherRights(to.level) { // of the level before
		if err := kube.IgnoreNotFound(m.Delete(ctx, o)); err != nil {
			return 0, fmt.Errorf("taking back ClusterRoleBinding %s of %s: %w", o.GetName(), m.server, err)
		}
	}
	if to.image != "" && to.class == "" && here.claim != nil {
		// Nothing uses it any more. It goes once the pod before has ended.
		if err := kube.IgnoreNotFound(m.Delete(ctx, here.claim)); err != nil {
			return 0, fmt.Errorf("deleting claim %s of %s, which is not used any more: %w", stateClaim, m.server, err)
		}
	}
	return replaced, nil
}

// apply writes an object, and takes in what the API server made of it.
func (m *member) apply(ctx context.Context, o *unstructured.Unstructured) error {
	kind, name := o.GetKind(), o.GetName()
	err := m.Apply(ctx, kube.ApplyConfigurationFromUnstructured(o), kube.FieldOwner("umbel-join"), kube.ForceOwnership)
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("installing the agent on %s needs the rights of a cluster administrator: %w", m.server, err)
	}
	if err != nil {
		return fmt.Errorf("installing %s %s on %s: %w", kind, name, m.server, err)
	}
	return nil
}

// namespace returns the agent's Namespace as an owner.
func (m *member) namespace(ctx context.Context) (*metav1.OwnerReference, error) {
	var ns corev1.Namespace
	if err := m.Get(ctx, kube.ObjectKey{Name: v1alpha1.AgentNamespace}, &ns); err != nil {
		return nil, fmt.Errorf("reading namespace %s of %s: %w", v1alpha1.AgentNamespace, m.server, err)
	}
	return &metav1.OwnerReference{APIVersion: "v1", Kind: "Namespace", Name: ns.Name, UID: ns.UID}, nil
}

// ending reports when an agent of before is still on its way out.
func (m *member) ending(ctx context.Context) error {
	var ns corev1.Namespace
	err := m.Get(ctx, kube.ObjectKey{Name: v1alpha1.AgentNamespace}, &ns)
	if kube.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading namespace %s of %s: %w", v1alpha1.AgentNamespace, m.server, err)
	}
	if !ns.DeletionTimestamp.IsZero() {
		return fmt.Errorf("namespace %s of %s is still being deleted, since the cluster left a fleet: try again in a moment", ns.Name, m.server)
	}
	return nil
}

// see returns what the cluster shows of its agent.
func (m *member) see(ctx context.Context) (seen sight, err error) {
	deployment := &appsv1.Deployment{}
	if err := m.find(ctx, "umbel-agent", deployment); err != nil {
		return sight{}, err
	}
	seen.deployment = deployment
	var pods corev1.PodList
	err = m.List(ctx, &pods, kube.InNamespace(v1alpha1.AgentNamespace), kube.MatchingLabels{"app.kubernetes.io/name": "umbel-agent"})
	if err != nil {
		return sight{}, err
	}
	seen.pods = pods.Items
	if seen.unpullable() == "" {
		return seen, nil
	}
	var events corev1.EventList
	if err := m.List(ctx, &events, kube.InNamespace(v1alpha1.AgentNamespace)); err != nil {
		return sight{}, err
	}
	seen.events = events.Items
	slices.SortFunc(seen.events, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	return seen, nil
}

// processFingerprint returns the fingerprint of the key of an agent that runs as a process; empty when it has none yet.
func processFingerprint(dir string) (string, error) {
	papers, err := identity.Folder(filepath.Join(dir, "identity")).Load()
	if err != nil || papers.Key == nil {
		return "", err
	}
	key, err := identity.ParseKey(papers.Key)
	if err != nil {
		return "", fmt.Errorf("reading the agent's key in %s: %w", dir, err)
	}
	return identity.KeyFingerprint(key.Public())
}

// writeProcess writes what an agent needs that runs as a process, and its command: a local cluster without nodes runs
// what it finds there.
func writeProcess(dir, kubeconfig, kubeContext string, to installation) error {
	raw, err := json.Marshal(to.boot)
	if err != nil {
		return err
	}
	access, err := accessOf(kubeconfig, kubeContext)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(dir, "kubeconfig"), access, 0o600); err != nil {
		return err
	}
	if err := renameio.WriteFile(BootstrapFile(dir), raw, 0o600); err != nil {
		return err
	}
	programs, err := client.Programs()
	if err != nil {
		return err
	}
	args := []string{filepath.Join(programs, "umbel-agent"), "--dir=" + dir, "--bootstrap=" + BootstrapFile(dir), "--kubeconfig=" + filepath.Join(dir, "kubeconfig")}
	if arg := to.auditLog.Arg(); arg != "" {
		args = append(args, arg)
	}
	command, err := json.Marshal(map[string][]string{"args": args})
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(dir, "command.json"), command, 0o600)
}

// accessOf returns a kubeconfig that says the same wherever it lies, and has the one context.
func accessOf(kubeconfig, kubeContext string) ([]byte, error) {
	raw, err := memberFile(kubeconfig, kubeContext).RawConfig()
	if err != nil {
		return nil, err
	}
	raw.CurrentContext = cmp.Or(kubeContext, raw.CurrentContext)
	if err := clientcmdapi.MinifyConfig(&raw); err != nil {
		return nil, fmt.Errorf("copying the kubeconfig %s: %w", kubeconfig, err)
	}
	return clientcmd.Write(raw)
}
