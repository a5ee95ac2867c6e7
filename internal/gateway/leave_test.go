package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/gateway/members"
	"umbel.dev/umbel/internal/session"
)

// change changes a MemberCluster.
func (h *hub) change(cluster v1alpha1.ClusterName, change func(*v1alpha1.MemberCluster)) {
	h.t.Helper()
	member := h.member(cluster)
	patch := client.MergeFrom(member.DeepCopy())
	change(member)
	if err := h.client.Patch(h.t.Context(), member, patch); err != nil {
		h.t.Fatal(err)
	}
}

// leave deletes a MemberCluster, as `umbel leave` does.
func (h *hub) leave(cluster v1alpha1.ClusterName) {
	h.t.Helper()
	if err := h.client.Delete(h.t.Context(), h.member(cluster)); err != nil {
		h.t.Fatal(err)
	}
}

// lose deletes a MemberCluster without its agent's word, as `umbel leave --force` does.
func (h *hub) lose(cluster v1alpha1.ClusterName) {
	h.t.Helper()
	h.change(cluster, force)
	h.leave(cluster)
	h.gone(cluster)
}

func force(m *v1alpha1.MemberCluster) {
	m.Annotations = map[string]string{members.ForceDetachAnnotation: "true"}
}

func (h *hub) gone(cluster v1alpha1.ClusterName) {
	h.t.Helper()
	h.eventually("the MemberCluster is gone", func() (bool, string) {
		err := h.client.Get(h.t.Context(), client.ObjectKey{Name: string(cluster)}, &v1alpha1.MemberCluster{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
}

// letsGo waits until the hub does not hold the MemberCluster any more. Somebody else may.
func (h *hub) letsGo(cluster v1alpha1.ClusterName) {
	h.t.Helper()
	h.eventually("the hub takes its finalizer off", func() (bool, string) {
		finalizers := h.member(cluster).Finalizers
		return !slices.Contains(finalizers, v1alpha1.Finalizer), fmt.Sprint(finalizers)
	})
}

// leaves waits until the agent has ended, for good.
func (a *agent) leaves() {
	a.t.Helper()
	if err := <-a.end; !errors.Is(err, session.ErrDetached) {
		a.t.Errorf("the agent ended with %v", err)
	}
}

// again starts the agent of a process that was killed, with what is on its disk.
func (h *hub) again(a *agent) *agent {
	h.t.Helper()
	a.stop()
	return h.newAgent(*a.bootstrap.Load(), a.dir)
}

func TestLeave(t *testing.T) {
	h := newHub(t)
	a := h.joined("prod-eu")
	h.leave("prod-eu")
	a.leaves()
	h.gone("prod-eu")
}

func TestLeaveWithoutTheAgent(t *testing.T) {
	h := newHub(t)
	a := h.joined("prod-eu")
	a.stop()
	h.leave("prod-eu")
	h.shows("prod-eu", v1alpha1.ConditionConnected, "Unknown/SessionClosed")
	mustContain(t, "the condition", h.shows("prod-eu", v1alpha1.ConditionReady, "False/Leaving"), "umbel leave prod-eu --force")
	h.change("prod-eu", force)
	h.gone("prod-eu")
}

// line is the network between an agent and its hub.
type line struct {
	to       string
	listener net.Listener
	mu       sync.Mutex
	isCut    bool
	conns    []net.Conn
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{to: to, listener: listener}
	var carrying sync.WaitGroup
	carrying.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil || !l.keep(near, far) {
				near.Close()
				continue
			}
			carrying.Go(func() { io.Copy(far, near); far.Close() })
			carrying.Go(func() { io.Copy(near, far); near.Close() })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		l.cut()
		carrying.Wait()
	})
	return l
}

func (l *line) keep(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut {
		conns[1].Close()
		return false
	}
	l.conns = append(l.conns, conns...)
	return true
}

// cut loses whatever is on its way; nothing goes through from then on.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = true
	for _, conn := range l.conns {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	l.conns = nil
}

func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = false
}

// Whoever dies at whatever moment while a member leaves: in the end the MemberCluster and the agent are gone.
func TestLeavingSurvivesEveryDeath(t *testing.T) {
	const held = "example.com/held"
	// letsGoOnce returns what an agent does when it is told to go: what and once only.
	letsGoOnce := func(t *testing.T, what func(ctx context.Context) error) func(context.Context, *wire.Detach) error {
		times := 0
		return func(ctx context.Context, _ *wire.Detach) error {
			if times++; times > 1 {
				t.Error("the agent let go twice")
			}
			return what(ctx)
		}
	}
	for _, c := range []struct {
		reason string
		tell   func(t *testing.T, h *hub, a *agent, l *line)
	}{
		{"the agent, before it is told", func(t *testing.T, h *hub, a *agent, _ *line) {
			a.stop()
			h.leave("prod-eu")
			h.again(a).start().leaves()
		}},
		{"the agent, while it lets go", func(t *testing.T, h *hub, a *agent, _ *line) {
			begun := make(chan struct{})
			a.letGo = letsGoOnce(t, func(ctx context.Context) error {
				close(begun)
				<-ctx.Done()
				return ctx.Err()
			})
			h.leave("prod-eu")
			<-begun
			second := h.again(a)
			did := make(chan struct{})
			second.letGo = letsGoOnce(t, func(context.Context) error { close(did); return nil })
			second.start().leaves()
			<-did // what was not finished was not taken for done
		}},
		{"the line, when the agent says so", func(t *testing.T, h *hub, a *agent, l *line) {
			a.letGo = letsGoOnce(t, func(context.Context) error { l.cut(); return nil })
			h.leave("prod-eu")
			h.eventually("the agent has let go", func() (bool, string) { return a.hasLetGo(), "" })
			l.mend()
			a.leaves()
		}},
		{"the agent, before it says so", func(t *testing.T, h *hub, a *agent, l *line) {
			a.letGo = letsGoOnce(t, func(context.Context) error { l.cut(); return nil })
			h.leave("prod-eu")
			h.eventually("the agent has let go", func() (bool, string) { return a.hasLetGo(), "" })
			second := h.again(a)
			second.letGo = func(context.Context, *wire.Detach) error { t.Error("it has let go already"); return nil }
			l.mend()
			second.start().leaves()
		}},
		{"the hub, while the agent lets go", func(t *testing.T, h *hub, a *agent, _ *line) {
			begun, dead := make(chan struct{}), make(chan struct{})
			a.letGo = letsGoOnce(t, func(context.Context) error {
				close(begun)
				<-dead
				return nil
			})
			h.leave("prod-eu")
			<-begun
			h.stop()
			close(dead)
			h.eventually("the agent has let go", func() (bool, string) { return a.hasLetGo(), "" })
			h.start()
			a.leaves()
		}},
		{"the hub, before it says that it is no member", func(t *testing.T, h *hub, a *agent, _ *line) {
			h.change("prod-eu", func(m *v1alpha1.MemberCluster) { controllerutil.AddFinalizer(m, held) })
			h.leave("prod-eu")
			h.letsGo("prod-eu")
			h.stop()
			h.change("prod-eu", func(m *v1alpha1.MemberCluster) { m.Finalizers = nil })
			h.start()
			a.leaves()
		}},
		{"the agent, before it hears that it is no member", func(t *testing.T, h *hub, a *agent, _ *line) {
			h.change("prod-eu", func(m *v1alpha1.MemberCluster) { controllerutil.AddFinalizer(m, held) })
			h.leave("prod-eu")
			h.letsGo("prod-eu")
			a.stop()
			h.change("prod-eu", func(m *v1alpha1.MemberCluster) { m.Finalizers = nil })
			h.again(a).start().leaves()
		}},
		{"the agent, for so long that its certificate expires", func(t *testing.T, h *hub, a *agent, _ *line) {
			h.change("prod-eu", func(m *v1alpha1.MemberCluster) { controllerutil.AddFinalizer(m, held) })
			h.leave("prod-eu")
			h.letsGo("prod-eu")
			a.stop()
			h.change("prod-eu", func(m *v1alpha1.MemberCluster) { m.Finalizers = nil })
			ring := h.keyring(a.dir)
			if err := ring.Install(h.sign(h.authority.Issuer(), "prod-eu", ring, -time.Minute), h.authority.Bundle()); err != nil {
				t.Fatal(err)
			}
			h.again(a).start().leaves()
		}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			h := newHub(t)
			boot := h.invite("prod-eu", time.Now().Add(time.Hour))
			l := newLine(t, h.address)
			boot.Address = l.listener.Addr().String()
			a := h.newAgent(boot, t.TempDir()).start()
			h.shows("prod-eu", v1alpha1.ConditionConnected, "True/ProbeAnswered")
			c.tell(t, h, a, l)
			h.gone("prod-eu")
		})
	}
}

// A MemberCluster that is gone by mistake, or by force, makes no agent go.
func TestWhoHasNotLetGoStays(t *testing.T) {
	h := newHub(t)
	a := h.joined("prod-eu")
	a.letGo = func(context.Context, *wire.Detach) error { t.Error("nobody asked it to"); return nil }
	h.lose("prod-eu")
	before := a.attempts.Load()
	h.eventually("the agent was refused a few times", func() (bool, string) {
		n := a.attempts.Load() - before
		return n >= 3, fmt.Sprint(n)
	})
	h.eventually("the agent is refused as no member", func() (bool, string) {
		err := h.dial(h.keyring(a.dir))
		var refused *session.Refused
		return errors.As(err, &refused) && refused.Reason == session.ReasonNoMember, fmt.Sprint(err)
	})

	anew := h.invite("prod-eu", time.Now().Add(time.Hour))
	a.bootstrap.Store(&anew)
	if err := <-a.end; !errors.Is(err, session.ErrJoinedAnew) {
		t.Errorf("the agent ended with %v", err)
	}
	h.again(a).start()
	h.shows("prod-eu", v1alpha1.ConditionReady, "True/NoPackages")
}

// An agent that has let go and is joined anew begins again, whatever the hub would say to the one that it was.
func TestJoinedAnewAfterLettingGo(t *testing.T) {
	h := newHub(t)
	boot := h.invite("prod-eu", time.Now().Add(time.Hour))
	l := newLine(t, h.address)
	boot.Address = l.listener.Addr().String()
	a := h.newAgent(boot, t.TempDir()).start()
	h.shows("prod-eu", v1alpha1.ConditionConnected, "True/ProbeAnswered")
	a.letGo = func(context.Context, *wire.Detach) error { l.cut(); return nil }
	h.leave("prod-eu")
	h.eventually("the agent has let go", func() (bool, string) { return a.hasLetGo(), "" })
	h.change("prod-eu", force)
	h.gone("prod-eu")

	anew := h.invite("prod-eu", time.Now().Add(time.Hour))
	a.bootstrap.Store(&anew)
	l.mend() // it would hear that it is no member, were it not for the new bootstrap
	if err := <-a.end; !errors.Is(err, session.ErrJoinedAnew) {
		t.Errorf("the agent ended with %v", err)
	}
	if err := os.Remove(filepath.Join(a.dir, letGoFile)); err != nil { // it was about the membership before
		t.Fatal(err)
	}
	h.again(a).start()
	h.desires.set("prod-eu", assigned("web-1"), true)
	h.shows("prod-eu", v1alpha1.ConditionReady, "True/AllApplied")
}

// A session of a MemberCluster that was deleted and made again at once is not one of the new one.
func TestRecreatedMemberBeginsAnew(t *testing.T) {
	h := newHub(t)
	h.joined("prod-eu")
	h.lose("prod-eu")
	h.invite("prod-eu", time.Now().Add(time.Hour)) // a token that the agent does not have
	h.shows("prod-eu", v1alpha1.ConditionJoined, "False/TokenRefused")
	status := h.member("prod-eu").Status
	if status.Identity != nil || status.AgentVersion != "" || meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionConnected) {
		t.Errorf("the session of the one before writes its status: %+v", status)
	}
}
