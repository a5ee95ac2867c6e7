package enrol

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kuberest "k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/kubetest"
)

var errKilled = errors.New("killed here")

// life is a controller that is killed after some of its writes, on the hub and in the cluster. Nothing of what it wants to write after that
// happens, and of that last one it never hears.
type life struct {
	mu     sync.Mutex
	after  int // 0: never
	writes []string
	dead   bool
	kill   context.CancelFunc
	ended  <-chan error
}

// writing does one.
func (l *life) writing(what string, do func() error) error {
	l.mu.Lock()
	if l.dead {
		l.mu.Unlock()
		return errKilled
	}
	l.writes = append(l.writes, what)
	last := len(l.writes) == l.after
	l.dead = last
	l.mu.Unlock()
	err := do()
	if last {
		l.kill()
		return errKilled
	}
	return err
}

func (l *life) arm(after int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.after, l.writes = after, nil
}

// over says whether it was killed, and what it has written since it was armed.
func (l *life) over() (dead bool, writes []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead, slices.Clone(l.writes)
}

// wire has requests pass, and counts those that write; an event is no write that anything hangs on.
type wire struct {
	http.RoundTripper
	where string
	life  func() *life
}

func (w wire) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	if r.Method == http.MethodGet || strings.HasSuffix(r.URL.Path, "/events") {
		return w.RoundTripper.RoundTrip(r)
	}
	cut := w.life().writing(w.where+r.Method+" "+r.URL.Path, func() error {
		answer, err = w.RoundTripper.RoundTrip(r)
		return err
	})
	if errors.Is(cut, errKilled) {
		if answer != nil {
			answer.Body.Close()
		}
		return nil, errKilled
	}
	return answer, err
}

// mortal is a hub on which a controller is killed, and another one goes on. The cluster that becomes a member has the same API, by a way
// of its own.
type mortal struct {
	*hub
	inside     client.Client
	kubeconfig []byte

	mu   sync.Mutex
	life *life
}

func newMortal(t *testing.T) *mortal {
	t.Helper()
	m := &mortal{hub: newBareHub(t)}
	var err error
	if m.inside, err = client.New(m.config, client.Options{}); err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(m.config.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := kuberest.TransportFor(m.config)
	if err != nil {
		t.Fatal(err)
	}
	way := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport:    wire{transport, "in the cluster: ", m.alive},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewServer(way)
	t.Cleanup(server.Close)
	if m.kubeconfig, err = os.ReadFile(kubetest.Kubeconfig(t, &kuberest.Config{Host: server.URL})); err != nil {
		t.Fatal(err)
	}
	m.born()
	t.Cleanup(func() { m.life.kill(); <-m.life.ended })
	return m
}

// alive is who runs now.
func (m *mortal) alive() *life {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.life
}

// born runs a controller.
func (m *mortal) born() {
	m.Helper()
	ctx, kill := context.WithCancel(context.WithoutCancel(m.Context()))
	l := &life{kill: kill}
	m.mu.Lock()
	m.life = l
	m.mu.Unlock()
	config := kuberest.CopyConfig(m.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return wire{next, "", func() *life { return l }} })
	l.ended = m.makesMembers(ctx, config)
}

// until has something come to be by a controller that is killed after so many writes, and by another one.
func (m *mortal) until(after int, what string, begin func(), so func() error) (killed bool, writes []string) {
	m.Helper()
	m.life.arm(after)
	begin()
	m.eventually(what+", or the controller is killed", func() error {
		if dead, _ := m.life.over(); dead {
			return nil
		}
		return so()
	})
	if killed, writes = m.life.over(); killed {
		<-m.life.ended // how one that was killed ends is nothing to know
		m.born()
	}
	m.eventually(fmt.Sprintf("killed after %d writes: %s (%v)", after, what, writes), so)
	m.life.arm(0)
	return killed, writes
}

// made is a Cluster that Cluster API makes, of which the test plays all but the enrolment.
type made struct {
	*mortal
	cluster *unstructured.Unstructured
	member  *v1alpha1.MemberCluster
}

func (m *mortal) makes(name string, annotations map[string]string) *made {
	c := &made{mortal: m, cluster: m.object(clusterKind, map[string]any{"status": map[string]any{"initialization": map[string]any{"controlPlaneInitialized": true}}})}
	c.cluster.SetName(name)
	c.cluster.SetLabels(map[string]string{"env": "dev"})
	c.cluster.SetAnnotations(annotations)
	c.cluster.SetFinalizers([]string{capiFinalizer})
	c.member = &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
	return c
}

// begins plays Cluster API, whose control plane serves: its kubeconfig is there first.
func (c *made) begins() {
	c.Helper()
	c.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: c.cluster.GetName() + "-kubeconfig"}, Data: map[string][]byte{"value": c.kubeconfig},
	})
	c.create(c.cluster)
}

// labelled says what is missing until the member has a label as its Cluster has it.
func (c *made) labelled(env string) error {
	if err := c.Get(c.Context(), client.ObjectKeyFromObject(c.member), c.member); err != nil {
		return err
	}
	if c.member.Labels["env"] != env || c.member.Annotations[v1alpha1.ManagedAnnotation] != identityOf(c.cluster) {
		return fmt.Errorf("the member's labels are %v and its annotations %v", c.member.Labels, c.member.Annotations)
	}
	return nil
}

// awaitsAgent says what is missing until the cluster is a member whose agent was started, with a token that lets it in.
func (c *made) awaitsAgent() error {
	if err := c.labelled("dev"); err != nil {
		return err
	}
	if err := c.Get(c.Context(), client.ObjectKeyFromObject(c.cluster), c.cluster); err != nil {
		return err
	}
	if !slices.Contains(c.cluster.GetFinalizers(), finalizer) {
		return fmt.Errorf("its finalizers are %v", c.cluster.GetFinalizers())
	}
	token, err := tokenOf(c.Context(), c.inside)
	if err != nil {
		return err
	}
	known := &corev1.Secret{}
	key := client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret(v1alpha1.ClusterName(c.member.Name))}
	if err := c.Get(c.Context(), key, known); err != nil {
		return err
	}
	if !identity.TokenMatches(token, string(known.Data[v1alpha1.JoinTokenHash])) {
		return errors.New("the agent has a token that the hub does not know")
	}
	given, err := givenTo(c.Context(), c.inside)
	if err != nil {
		return err
	}
	agent := &appsv1.Deployment{}
	if err := c.inside.Get(c.Context(), client.ObjectKey{Namespace: v1alpha1.AgentNamespace, Name: "umbel-agent"}, agent); err != nil {
		return err
	}
	if sum := agent.Spec.Template.Annotations["umbel.dev/bootstrap"]; sum != identity.HashToken(string(given)) {
		return fmt.Errorf("the agent was started with something else than it was given: %s", sum)
	}
	return nil
}

// gatewayFinalizer stands for the gateway's on a member, which the test plays.
const gatewayFinalizer = "umbel.dev/played-gateway"

// connects plays the gateway and the agent: its key is pinned, and the token has served.
func (c *made) connects() {
	c.Helper()
	before := c.member.DeepCopy()
	c.member.Finalizers = append(c.member.Finalizers, gatewayFinalizer)
	if err := c.Patch(c.Context(), c.member, client.MergeFrom(before)); err != nil {
		c.Fatal(err)
	}
	before = c.member.DeepCopy()
	c.member.Status.Identity = &v1alpha1.MemberIdentity{KeyFingerprint: strings.Repeat("1", 64)}
	if err := c.Status().Patch(c.Context(), c.member, client.MergeFrom(before)); err != nil {
		c.Fatal(err)
	}
	token := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret(v1alpha1.ClusterName(c.member.Name))}}
	if err := client.IgnoreNotFound(c.Delete(c.Context(), token)); err != nil {
		c.Fatal(err)
	}
}

// ends plays Cluster API, which ends the cluster with all that is in it.
func (c *made) ends() {
	c.Helper()
	if err := c.Delete(c.Context(), c.cluster); err != nil {
		c.Fatal(err)
	}
	for _, o := range []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.AgentNamespace, Name: v1alpha1.AgentBootstrapSecret}},
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.AgentNamespace, Name: "umbel-agent"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: c.cluster.GetName() + "-kubeconfig"}},
	} {
		if err := client.IgnoreNotFound(c.inside.Delete(c.Context(), o)); err != nil {
			c.Fatal(err)
		}
	}
	c.changes(c.cluster, fmt.Sprintf(`{"metadata":{"finalizers":%s}}`, map[bool]string{true: `["` + finalizer + `"]`, false: `null`}[slices.Contains(c.cluster.GetFinalizers(), finalizer)]))
}

// gone says what is left. It plays the gateway, which lets go of a member without its agent's word when it is told to, and of its token.
func (c *made) gone() error {
	member := &v1alpha1.MemberCluster{}
	token := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret(v1alpha1.ClusterName(c.member.Name))}}
	err := c.Get(c.Context(), client.ObjectKeyFromObject(c.member), member)
	if err == nil && !member.DeletionTimestamp.IsZero() && member.Annotations[v1alpha1.ForceDetachAnnotation] == "true" {
		before := member.DeepCopy()
		member.Finalizers = nil
		err = errors.Join(client.IgnoreNotFound(c.Delete(c.Context(), token)), c.Patch(c.Context(), member, client.MergeFrom(before)))
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("the member is left, with %v, %v and %v (%v)", member.Finalizers, member.Annotations, member.DeletionTimestamp, err)
	}
	if err := c.Get(c.Context(), client.ObjectKeyFromObject(c.cluster), c.cluster.DeepCopy()); !apierrors.IsNotFound(err) {
		return fmt.Errorf("the Cluster is left (%v)", err)
	}
	if err := c.Get(c.Context(), client.ObjectKeyFromObject(token), token); !apierrors.IsNotFound(err) {
		return fmt.Errorf("a token that lets somebody in is left (%v)", err)
	}
	return nil
}

// TestTheEnrolmentIsKilledAtEveryWrite while a cluster is made, gets another label, and ends: after the first write, after the second, and
// so on. Another controller takes over each time; in the end the agent was started, the member is as its Cluster, and nothing of it is left.
func TestTheEnrolmentIsKilledAtEveryWrite(t *testing.T) {
	m := newMortal(t)
	stories := map[string][]string{}
	for after, cut := 1, true; cut; after++ {
		if after > 40 {
			t.Fatal("an enrolment has no end")
		}
		c := m.makes(fmt.Sprintf("k%d", after), map[string]string{v1alpha1.JoinAnnotation: "true"})
		cut = false
		for _, part := range []struct {
			what  string
			begin func()
			so    func() error
		}{
			{"its agent was started", c.begins, c.awaitsAgent},
			{"it has the new label", func() {
				c.connects()
				c.changes(c.cluster, `{"metadata":{"labels":{"env":"prod"}}}`)
			}, func() error { return c.labelled("prod") }},
			{"nothing is left", c.ends, c.gone},
		} {
			killed, writes := m.until(after, part.what, part.begin, part.so)
			if !killed && stories[part.what] == nil {
				stories[part.what] = writes
			}
			cut = cut || killed
		}
	}
	for what, parts := range map[string][]string{
		"its agent was started": {"PATCH /apis/cluster.x-k8s.io/v1beta2/", "PATCH /apis/umbel.dev/v1alpha1/memberclusters/", "POST /api/v1/namespaces/umbel-system/secrets", "in the cluster: PATCH /api/v1/namespaces/umbel-agent/secrets/", "in the cluster: PATCH /apis/apps/v1/"},
		"it has the new label":  {"PATCH /apis/umbel.dev/v1alpha1/memberclusters/"},
		"nothing is left":       {"DELETE /apis/umbel.dev/v1alpha1/memberclusters/", "PATCH /apis/cluster.x-k8s.io/v1beta2/"},
	} {
		said := strings.Join(stories[what], "\n  ")
		t.Logf("killed after each of the writes until %s:\n  %s", what, said)
		for _, part := range parts {
			if !strings.Contains(said, part) {
				t.Errorf("until %s, no write was %q", what, part)
			}
		}
	}
}

// TestFollowingIsKilledAtEveryWrite: an adopted member follows its Cluster; taken out, it stays out, and the Cluster is not held.
func TestFollowingIsKilledAtEveryWrite(t *testing.T) {
	m := newMortal(t)
	var last []string
	for after, killed := 1, true; killed; after++ {
		if after > 10 {
			t.Fatal("to follow has no end")
		}
		c := m.makes(fmt.Sprintf("f%d", after), nil)
		c.begins()
		c.member.Annotations = map[string]string{v1alpha1.ManagedAnnotation: identityOf(c.cluster)}
		killed, last = m.until(after, "it has the labels", func() { c.create(c.member) }, func() error { return c.labelled("dev") })
		again, _ := m.until(after, "it has the new label", func() { c.changes(c.cluster, `{"metadata":{"labels":{"env":"prod"}}}`) }, func() error { return c.labelled("prod") })
		killed = killed || again
		if err := c.Delete(c.Context(), c.member); err != nil {
			t.Fatal(err)
		}
		c.ends()
		m.eventually("nothing is left", c.gone)
	}
	// Once, and again where it had not heard yet of its own write.
	if len(last) == 0 || slices.ContainsFunc(last, func(w string) bool { return !strings.Contains(w, "PATCH /apis/umbel.dev/v1alpha1/memberclusters/") }) {
		t.Errorf("what was written of a Cluster that is followed: %v", last)
	}
}
