package agent

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/apply"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// line is a way to the hub that can be cut.
type line struct {
	net.Listener
	to string

	mu   sync.Mutex
	cut  bool
	ends []net.Conn
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{Listener: listener, to: to}
	go l.serve()
	t.Cleanup(func() { l.set(true); listener.Close() })
	return l
}

func (l *line) serve() {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		hub, err := net.Dial("tcp", l.to)
		l.mu.Lock()
		if l.cut || err != nil {
			conn.Close()
			if err == nil {
				hub.Close()
			}
		} else {
			l.ends = append(l.ends, conn, hub)
			go func() { io.Copy(hub, conn); hub.Close() }()  //nolint:errcheck // a line that is cut
			go func() { io.Copy(conn, hub); conn.Close() }() //nolint:errcheck // a line that is cut
		}
		l.mu.Unlock()
	}
}

// set cuts the line, or mends it.
func (l *line) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	for _, end := range l.ends {
		end.Close()
	}
	l.ends = nil
}

// person makes a ServiceAccount that may do something with MemberClusters, and returns how it comes to the hub's door.
func (f *fleet) person(name, verb string) func(path string) (code int, text string) {
	f.t.Helper()
	namespace := f.wanted.Namespace
	clients, err := kubernetes.NewForConfig(f.api)
	f.must(err)
	f.must(f.client.Create(f.t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}))
	token, err := clients.CoreV1().ServiceAccounts(namespace).CreateToken(f.t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	f.must(err)
	role := metav1.ObjectMeta{Name: namespace + "-" + name}
	f.must(f.client.Create(f.t.Context(), &rbacv1.ClusterRole{ObjectMeta: role, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"umbel.dev"}, Resources: []string{"memberclusters"}, ResourceNames: []string{string(f.name)}, Verbs: []string{verb},
	}}}))
	f.must(f.client.Create(f.t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: role, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
	}))
	f.eventually(name+" may "+verb, func() error { // the API server has heard so
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:" + namespace + ":" + name,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Group: "umbel.dev", Resource: "memberclusters", Name: string(f.name), Verb: verb},
		}}
		if err := f.client.Create(f.t.Context(), review); err != nil || !review.Status.Allowed {
			return fmt.Errorf("it is not allowed (%v)", err)
		}
		return nil
	})
	web, err := rest.HTTPClientFor(&rest.Config{BearerToken: token.Status.Token, TLSClientConfig: rest.TLSClientConfig{CAData: f.authority.Bundle()}})
	f.must(err)
	return func(path string) (int, string) {
		f.t.Helper()
		answer, err := web.Get("https://" + f.address + path)
		f.must(err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		f.must(err)
		return answer.StatusCode, string(text)
	}
}

// TestAHubThatWasAwayHearsWhatHappened: while the hub is away objects drift, and the agent is killed and started. When the hub is
// there again it tells who may read the member what happened, and nobody else.
func TestAHubThatWasAwayHearsWhatHappened(t *testing.T) {
	f := newFleet(t)
	way := newLine(t, f.address)
	f.join()
	boot := f.boot
	boot.Address = way.Addr().String()
	f.bootstrap(boot)
	f.start()
	f.ready()
	reader, proxies := f.person("reader", "get"), f.person("proxies", "proxy")
	const path = v1alpha1.HistoryPath + string(cluster)
	if code, text := reader(path); code != http.StatusOK || text != "" {
		t.Errorf("before anything happened: %d %s", code, text)
	}

	way.set(true)
	f.eventually("the hub knows that the member is away", func() error {
		if code, text := reader(path); code != http.StatusServiceUnavailable {
			return fmt.Errorf("%d %s", code, text)
		}
		return nil
	})
	repaired := func() error {
		var got corev1.ConfigMap
		if err := f.client.Get(t.Context(), client.ObjectKeyFromObject(f.wanted), &got); err != nil {
			return err
		}
		if got.Data["a"] != "b" {
			return fmt.Errorf("it has %v", got.Data)
		}
		return nil
	}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"data":{"a":"theirs"}}`))
	f.must(f.client.Patch(t.Context(), f.wanted.DeepCopy(), patch, client.FieldOwner("kubectl-edit")))
	f.eventually("it is put back", repaired)
	f.must(f.client.Delete(t.Context(), f.wanted.DeepCopy()))
	f.eventually("it is put back again", repaired)
	f.eventually("the agent has written both down", func() error { // a moment after it has put them back
		files, err := filepath.Glob(filepath.Join(f.dir, apply.HistoryDir, "*"))
		lines := 0
		for _, file := range files {
			var raw []byte
			if raw, err = os.ReadFile(file); err != nil {
				break
			}
			lines += bytes.Count(raw, []byte("\n"))
		}
		if err == nil && lines < 2 {
			err = fmt.Errorf("there are %d lines", lines)
		}
		return err
	})
	f.kill()
	f.start()

	way.set(false)
	var all []v1alpha1.HistoryEntry
	f.eventually("the hub tells of both", func() error {
		code, text := reader(path + "?since=" + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
		if code != http.StatusOK {
			return fmt.Errorf("%d %s", code, text)
		}
		all = nil
		for lines := json.NewDecoder(strings.NewReader(text)); ; {
			var entry v1alpha1.HistoryEntry
			if err := lines.Decode(&entry); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return fmt.Errorf("%s: %w", text, err)
			}
			all = append(all, entry)
		}
		if len(all) != 2 {
			return fmt.Errorf("%s", text)
		}
		return nil
	})
	object := "ConfigMap " + f.wanted.Namespace + "/wanted"
	if first := all[0]; first.Object != object || first.Package != "shop/web" || first.By != "kubectl-edit" || strings.Join(first.Fields, " ") != "data.a" || first.Action != v1alpha1.DriftRepaired {
		t.Errorf("the first is %+v", first)
	}
	if second := all[1]; second.Object != object || !second.Deleted || second.ID <= all[0].ID {
		t.Errorf("the second is %+v", second)
	}
	for _, c := range []struct {
		reason string
		asks   func(string) (int, string)
		path   string
		code   int
		want   string
	}{
		{"since later", reader, path + "?since=2999-01-01T00:00:00Z", http.StatusOK, ""},
		{"since nonsense", reader, path + "?since=yesterday", http.StatusBadRequest, "no time of RFC 3339"},
		{"another cluster", reader, v1alpha1.HistoryPath + "prod-us", http.StatusForbidden, `may not read the history of cluster \"prod-us\"`},
		{"no cluster", reader, v1alpha1.HistoryPath, http.StatusNotFound, "NAME"},
		{"who may reach the member alone", proxies, path, http.StatusForbidden, `that takes the verb \"get\" on memberclusters.umbel.dev`},
		{"who asks the member for it", proxies, "/clusters/" + string(cluster) + "/umbel.dev/history", http.StatusForbidden, "forbidden"},
	} {
		code, text := c.asks(c.path)
		if code != c.code || !strings.Contains(text, c.want) || strings.Contains(text, "kubectl-edit") {
			t.Errorf("%s: answered %d %s, want %d with %q", c.reason, code, text, c.code, c.want)
		}
	}
}

// asker asks for the history as the hub does, and takes an answer when it is let.
type asker struct {
	*httptest.ResponseRecorder
	takes chan struct{} // closed when it takes what is written
	ended chan any      // what the handler panicked with, or nil
}

func (a *asker) Write(text []byte) (int, error) {
	<-a.takes
	return a.ResponseRecorder.Write(text)
}

// ask has somebody ask, who takes the answer at once or later.
func ask(ctx context.Context, handler http.Handler, takes chan struct{}) *asker {
	a := &asker{httptest.NewRecorder(), takes, make(chan any, 1)}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, kubeproxy.HistoryPath, nil)
	identity, _ := json.Marshal(kubeproxy.Identity{User: kubeproxy.HubUser})
	r.Header.Set(kubeproxy.IdentityHeader, base64.StdEncoding.EncodeToString(identity))
	go func() {
		defer func() { a.ended <- recover() }()
		handler.ServeHTTP(a, r)
	}()
	return a
}

// TestAHistoryIsReadByAFewAtATime: others wait for their turn, as long as they are there; and who does not take an answer holds none.
func TestAHistoryIsReadByAFewAtATime(t *testing.T) { synctest.Test(t, aFewAtATime) }

func aFewAtATime(t *testing.T) {
	const entries = 1000 // some pages
	begun, goesOn := make(chan struct{}, 10), make(chan struct{})
	handler := withHistory(http.NotFoundHandler(), func(ctx context.Context, _ time.Time, yield func(v1alpha1.HistoryEntry) error) error {
		begun <- struct{}{}
		<-goesOn
		for i := range entries {
			if err := yield(v1alpha1.HistoryEntry{ID: int64(i + 1), Package: "shop/web", Drift: v1alpha1.Drift{Object: strings.Repeat("x", 200)}}); err != nil {
				return err
			}
		}
		return nil
	})
	atOnce, later := make(chan struct{}), make(chan struct{})
	close(atOnce)
	slow := []*asker{ask(t.Context(), handler, later), ask(t.Context(), handler, later)}
	synctest.Wait()
	ctx, goes := context.WithCancel(t.Context())
	waits, leaves := ask(t.Context(), handler, atOnce), ask(ctx, handler, atOnce)
	synctest.Wait()
	if len(begun) != readers {
		t.Errorf("%d read at a time, want %d", len(begun), readers)
	}
	goes()
	if why := <-leaves.ended; why != http.ErrAbortHandler {
		t.Errorf("the answer to who went away while it waited ended with %v", why)
	}
	close(goesOn)
	if why := <-waits.ended; why != nil || strings.Count(waits.Body.String(), "\n") != entries {
		t.Errorf("who waited was told %d entries, and %v", strings.Count(waits.Body.String(), "\n"), why)
	}
	close(later)
	for _, a := range slow {
		if why := <-a.ended; why != nil || strings.Count(a.Body.String(), "\n") != entries {
			t.Errorf("who is slow was told %d entries, and %v", strings.Count(a.Body.String(), "\n"), why)
		}
	}
}
