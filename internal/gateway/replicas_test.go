package gateway

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/gateway/replicas"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/programtest"
	"umbel.dev/umbel/internal/tunnel/balancertest"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// replicaInterval is how often replicas say that they are alive, and ask their agents whether they are, in tests: one that a busy machine holds
// up for a second is not to seem dead.
const replicaInterval = time.Second

// wordless is a client that deletes nothing: a replica that has it goes without a word, as when it is killed.
type wordless struct{ client.Client }

func (wordless) Delete(context.Context, client.Object, ...client.DeleteOption) error {
	return errors.New("this replica goes without a word")
}

// alone is an authority of one CA.
type alone struct{ *identity.CA }

func (a alone) Issuer() *identity.CA  { return a.CA }
func (a alone) Roots() *x509.CertPool { return a.Pool() }

// among returns the replicas of the hub as this one sees them, or nil when it is the only one.
func (h *hub) among(mgr ctrl.Manager) *replicas.Replicas {
	h.t.Helper()
	if h.replica == "" {
		return nil
	}
	api := h.client
	if h.quiet {
		api = wordless{api}
	}
	among, err := replicas.New(replicas.Config{
		Name: h.replica, Address: h.address, Client: api, Cache: mgr.GetCache(), Elected: mgr.Elected(), Interval: replicaInterval,
		Now: time.Now, Log: testLog(h.t),
	})
	if err == nil {
		err = mgr.Add(among)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return among
}

// fleet is a hub of three replicas behind a balancer.
type fleet struct {
	*hub     // the first one; its address is the balancer's
	replicas []*hub
	balancer *balancertest.Balancer
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	first := newHub(t)
	first.stop()
	first.probe = replicaInterval
	balancer, err := balancertest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { balancer.Close() })
	f := &fleet{balancer: balancer}
	for _, name := range []string{"hub-0", "hub-1", "hub-2"} {
		replica := *first
		replica.replica, replica.address, replica.quiet = name, programtest.FreeAddress(t), name == "hub-1"
		if replica.audit, err = audit.Open(audit.LogConfig{Dir: t.TempDir(), Log: testLog(t)}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { replica.audit.Close() })
		replica.start()
		t.Cleanup(replica.stop)
		f.replicas = append(f.replicas, &replica)
		f.balancer.Add(replica.address)
	}
	shared := *f.replicas[0]
	shared.address = f.balancer.Address()
	f.hub = &shared
	return f
}

// sessions waits until every cluster is claimed by one of the replicas, and returns which.
func (f *fleet) sessions(clusters []v1alpha1.ClusterName, among ...string) map[v1alpha1.ClusterName]string {
	f.t.Helper()
	at := map[v1alpha1.ClusterName]string{}
	for _, cluster := range clusters {
		f.eventually(fmt.Sprintf("%s is in session with one of %v", cluster, among), func() (bool, string) {
			member := f.member(cluster)
			if member.Status.Session == nil {
				return false, "no session"
			}
			at[cluster] = member.Status.Session.Replica
			connected := meta.IsStatusConditionTrue(member.Status.Conditions, v1alpha1.ConditionConnected)
			return connected && strings.Contains(strings.Join(among, " "), at[cluster]), fmt.Sprintf("%v, connected: %v", at[cluster], connected)
		})
	}
	return at
}

func (f *fleet) join(n int) (clusters []v1alpha1.ClusterName, agents []*agent) {
	f.t.Helper()
	for i := range n {
		cluster := v1alpha1.ClusterName(fmt.Sprintf("c%d", i))
		agents = append(agents, f.newAgent(f.invite(cluster, time.Now().Add(time.Hour)), f.t.TempDir()).start())
		clusters = append(clusters, cluster)
	}
	return clusters, agents
}

// Agents are in session with any replica; people come in at any replica and reach every member; what members hold is told
// by whichever has them.
func TestReplicasServeOneFleet(t *testing.T) {
	f := newFleet(t)
	clusters, agents := f.join(16) // who comes to which replica depends on who else comes, and is as good as drawn: of sixteen one has hardly all
	at := f.sessions(clusters, "hub-0", "hub-1", "hub-2")
	used := map[string]bool{}
	for _, replica := range at {
		used[replica] = true
	}
	if len(used) < 2 {
		t.Fatalf("the balancer takes turns, and all sessions are with one replica: %v", at)
	}
	namespace := kubetest.Namespace(t, f.api)
	var names []string
	for _, cluster := range clusters {
		names = append(names, string(cluster))
	}
	alice := f.person(namespace, "alice", names...)
	f.letIn(namespace, "hub:system:serviceaccount:"+namespace+":alice")
	f.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "settings"}, Data: map[string]string{"a": "b"}})
	for _, replica := range f.replicas {
		for _, cluster := range clusters {
			through := rest.CopyConfig(alice)
			through.Host = "https://" + replica.address + "/clusters/" + string(cluster)
			clients, err := kubernetes.NewForConfig(through)
			if err != nil {
				t.Fatal(err)
			}
			f.eventually(fmt.Sprintf("%s is known to be in session, and reached, at %s", cluster, replica.replica), func() (bool, string) {
				got, err := clients.CoreV1().ConfigMaps(namespace).Get(t.Context(), "settings", metav1.GetOptions{})
				return err == nil && got.Data["a"] == "b", fmt.Sprint(got, err)
			})
			_, err = clients.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})
			mustContain(t, "the member's word", fmt.Sprint(err), `:alice" cannot list resource "secrets"`)
		}
	}
	for i, cluster := range clusters {
		f.desires.set(cluster, assigned("r1"), true)
		f.eventually("the agent holds what it is to hold", func() (bool, string) { return agents[i].packages.len() == 1, "" })
		f.shows(cluster, v1alpha1.ConditionSynced, "True/AllApplied")
	}
}

// Who asks one replica who did what hears of all of them.
func TestTheAuditLogIsThatOfAllReplicas(t *testing.T) {
	f := newFleet(t)
	namespace := kubetest.Namespace(t, f.api)
	all := f.person(namespace, "all")
	f.auditor(namespace, "all")
	for _, replica := range f.replicas {
		replica.knock(all, http.MethodGet, "/clusters/at-"+replica.replica+"/api")
	}
	for _, replica := range f.replicas {
		f.eventually(replica.replica+" knows the others and shows what came in anywhere", func() (bool, string) {
			code, text := replica.knock(all, http.MethodGet, audit.Path)
			for _, at := range f.replicas {
				if !strings.Contains(text, "/clusters/at-"+at.replica+"/api") {
					return false, text
				}
			}
			return code == http.StatusOK && strings.Contains(text, `"status":"Success"`), text
		})
	}
}

// What agents send to one replica the others take, each from each.
func TestReplicasTakeWhatOthersWereSent(t *testing.T) {
	f := newFleet(t)
	for _, from := range f.replicas {
		for _, to := range f.replicas {
			if to == from {
				continue
			}
			f.eventually(from.replica+" sends, and "+to.replica+" takes", func() (bool, string) {
				ask, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+to.replica, strings.NewReader("measured"))
				if err != nil {
					t.Fatal(err)
				}
				answer, err := from.gateway.ToMetrics().RoundTrip(ask)
				if err != nil {
					return false, err.Error()
				}
				text := readAll(t, answer)
				return text == "taken of another replica: measured", text
			})
		}
	}
}

// A replica that is gone, with a word or without: its agents are elsewhere, hold what they held, and were told nothing.
func TestReplicasDie(t *testing.T) {
	f := newFleet(t)
	clusters, agents := f.join(6)
	for _, cluster := range clusters {
		f.desires.set(cluster, assigned("r1"), true)
		f.shows(cluster, v1alpha1.ConditionSynced, "True/AllApplied")
	}
	for i, dies := range []string{"hub-2", "hub-1"} {
		before := f.sessions(clusters, "hub-0", "hub-1", "hub-2")
		stores := make([]int, len(agents))
		for j, a := range agents {
			stores[j] = a.packages.count()
		}
		left := []string{"hub-0", "hub-1"}[:2-i]
		f.replicas[2-i].stop()
		f.sessions(clusters, left...)
		for j, cluster := range clusters {
			f.shows(cluster, v1alpha1.ConditionSynced, "True/AllApplied")
			if got := agents[j].packages.count(); got != stores[j] {
				t.Errorf("%s went from %s and was told %d times what it holds already, after %s was gone", cluster, before[cluster], got-stores[j], dies)
			}
		}
	}
}

// Of a member whose replica is gone and whose agent does not come back, the leader says so; a deleted one goes by force.
func TestTheLeaderLooksAfterTheLost(t *testing.T) {
	f := newFleet(t)
	leader := f.leader()
	for i := range 20 { // which replica an agent comes to depends on who else comes
		cluster := v1alpha1.ClusterName(fmt.Sprintf("c%d", i))
		a := f.newAgent(f.invite(cluster, time.Now().Add(time.Hour)), t.TempDir()).start()
		at := f.sessions([]v1alpha1.ClusterName{cluster}, "hub-0", "hub-1", "hub-2")[cluster]
		if at == leader {
			continue
		}
		f.balancer.Refuse()
		for _, replica := range f.replicas {
			if replica.replica == at { // before its agent ends, which it would tell of
				replica.stop()
			}
		}
		a.stop()
		f.shows(cluster, v1alpha1.ConditionConnected, "Unknown/HubRestarted")
		f.lose(cluster)
		return
	}
	t.Fatal("every session is with the leader")
}

// leader returns which replica leads.
func (f *fleet) leader() string {
	f.t.Helper()
	name := ""
	f.eventually("one replica leads", func() (bool, string) {
		var leading []string
		for _, replica := range f.replicas {
			if replica.gateway.Replicas.Leads() {
				leading = append(leading, replica.replica)
			}
		}
		name = strings.Join(leading, " ")
		return len(leading) == 1, name
	})
	return name
}

// What replicas say to each other is for replicas.
func TestThePathOfReplicasIsForReplicas(t *testing.T) {
	f := newFleet(t)
	clusters, _ := f.join(1)
	at := f.sessions(clusters, "hub-0", "hub-1", "hub-2")
	var here *hub
	for _, replica := range f.replicas {
		if replica.replica == at["c0"] {
			here = replica
		}
	}
	agentRing := f.keyring(t.TempDir())
	if err := agentRing.Install(f.sign(f.authority.Issuer(), "c0", agentRing, time.Hour), f.authority.Bundle()); err != nil {
		t.Fatal(err)
	}
	foreign, err := identity.NewCA("another hub", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	stranger := newPeers(alone{foreign}, "hub-9", key)
	stranger.transport.TLSClientConfig.VerifyConnection = nil
	other := "hub-0"
	if here.replica == other {
		other = "hub-1"
	}
	for reason, c := range map[string]struct {
		through http.RoundTripper
		want    int
	}{
		"nobody":                     {here.web(nil).Transport, http.StatusUnauthorized},
		"an agent of a member":       {here.web(agentRing).Transport, http.StatusUnauthorized},
		"a replica of another hub":   {stranger.transport, http.StatusUnauthorized},
		"an account with all rights": {bearer{here.web(nil).Transport, "made up"}, http.StatusUnauthorized},
		"who stole the CA's key, as a replica that is alive": {newPeers(f.authority, other, key).transport, http.StatusServiceUnavailable},
		"who stole the CA's key, as this replica":            {newPeers(f.authority, here.replica, key).transport, http.StatusServiceUnavailable},
		"who stole the CA's key, as another replica":         {newPeers(f.authority, "hub-9", key).transport, http.StatusServiceUnavailable},
	} {
		ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+here.address+peerPrefix+"c0/api", nil)
		if err != nil {
			t.Fatal(err)
		}
		measures, err := c.through.RoundTrip(&http.Request{Method: http.MethodPost, Header: http.Header{}, URL: &url.URL{Scheme: "https", Host: here.address, Path: peerMetrics}})
		if err != nil {
			t.Errorf("%s, measuring: %v", reason, err)
			continue
		}
		if text := readAll(t, measures); measures.StatusCode != c.want || strings.Contains(text, "taken") {
			t.Errorf("%s, measuring, is answered %s %s", reason, measures.Status, text)
		}
		ask.Header.Set(kubeproxy.IdentityHeader, "eyJ1c2VyIjoic3lzdGVtOmFkbWluIn0=") // {"user":"system:admin"}
		answer, err := c.through.RoundTrip(ask)
		if err != nil {
			t.Errorf("%s: %v", reason, err)
			continue
		}
		if text := readAll(t, answer); answer.StatusCode != c.want || !strings.Contains(text, "replica") {
			t.Errorf("%s: %s: %s", reason, answer.Status, text)
		}
	}
	_, events := here.recorded(audit.HubUser)
	recorded := 0
	for _, e := range events {
		if strings.HasPrefix(e.Annotations[audit.RefusedAnnotation], reasonNoReplica) {
			recorded++
		}
	}
	if recorded != 2*7 {
		t.Errorf("%d refusals of two each are in the audit log", recorded)
	}
}

// A hub that is one process serves nobody there, whatever certificate they have.
func TestAHubOfOneProcessHasNoPathForReplicas(t *testing.T) {
	h := newHub(t)
	h.joined("prod-eu")
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+h.address+peerPrefix+"prod-eu/api", nil)
	if err != nil {
		t.Fatal(err)
	}
	ask.Header.Set(kubeproxy.IdentityHeader, "eyJ1c2VyIjoic3lzdGVtOmFkbWluIn0=") // {"user":"system:admin"}
	answer, err := newPeers(h.authority, "hub-0", key).transport.RoundTrip(ask)
	if err != nil {
		t.Fatal(err)
	}
	if text := readAll(t, answer); answer.StatusCode != http.StatusNotFound {
		t.Errorf("%s: %s", answer.Status, text)
	}
}

type bearer struct {
	http.RoundTripper
	token string
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.RoundTripper.RoundTrip(r)
}

// A replica that begins to serve an agent tells it nothing before its claim is written.
func TestNothingIsToldBeforeTheClaim(t *testing.T) {
	f := newFleet(t)
	f.desires.set("c0", assigned("r1"), true)
	_, agents := f.join(1)
	f.eventually("the agent holds it", func() (bool, string) { return agents[0].packages.len() == 1, "" })
	member := f.member("c0")
	if member.Status.Session == nil || len(member.Status.Packages) != 1 {
		t.Errorf("the agent holds a package, and the status has session %v and packages %v", member.Status.Session, member.Status.Packages)
	}
}

func (p *packages) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stores
}
