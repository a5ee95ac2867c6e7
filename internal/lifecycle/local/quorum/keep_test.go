package quorum

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/kube/process"
)

// host has up to three members on addresses of the loopback: real etcds and API servers, supervised, each with a folder of its own.
type host struct {
	*testing.T
	dir    string
	binary string
	ports  controlplane.Ports

	mu      sync.Mutex
	wanted  int
	begun   bool
	places  [3]running
	stepped int
	// cut is how many steps there may be until whoever does them is killed, as many as there are for zero. killed does it.
	cut    int
	killed context.CancelFunc
	// old are the members that run another build than they are to, and anew those that were ended for that, in order.
	old  map[int]bool
	anew []int
	// only are the processes of a member that run; all for zero.
	only int
}

// running is a supervised member.
type running struct {
	supervisor *process.Supervisor
	stop       func()
}

var errCut = errors.New("killed here")

func newHost(t *testing.T) *host {
	binary, err := kubetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	ports, err := controlplane.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	h := &host{T: t, dir: t.TempDir(), binary: binary, wanted: 1, ports: ports}
	t.Cleanup(func() {
		for n := range h.places {
			h.halt(n)
		}
		h.tell()
	})
	return h
}

// tell shows the ends of all logs of a host that failed.
func (h *host) tell() {
	if !h.Failed() {
		return
	}
	logs, _ := filepath.Glob(filepath.Join(h.dir, "*", "logs", "*"))
	for _, path := range logs {
		raw, _ := os.ReadFile(path)
		h.Logf("%s ends with:\n%s", path, raw[max(0, len(raw)-4<<10):])
	}
}

func (h *host) plane(number int, join ...string) *controlplane.ControlPlane {
	address := netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + number)})
	plane, err := controlplane.New(controlplane.Config{
		Name: "ha", Dir: filepath.Join(h.dir, fmt.Sprint(number)), Binary: h.binary, Address: netip.MustParseAddr("127.0.0.2"), Ports: h.ports,
		ServiceCIDR: netip.MustParsePrefix("10.129.0.0/16"), Member: &controlplane.Member{Name: fmt.Sprintf("ha-%d", number), Address: address, Join: join},
	})
	if err != nil {
		h.Fatal(err)
	}
	return plane
}

func (h *host) Look() ([]Place, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []Place
	for n := range h.places {
		plane := h.plane(n)
		data, err := plane.HasData()
		if err != nil {
			return nil, false, err
		}
		stuck, err := plane.Stuck()
		if err != nil {
			return nil, false, err
		}
		all = append(all, Place{
			Number: n, Name: fmt.Sprintf("ha-%d", n), Peer: plane.PeerURL(), Client: plane.EtcdURL(),
			Wanted: n < h.wanted, Data: data, Runs: h.places[n].supervisor != nil, Stuck: stuck,
		})
	}
	return all, h.begun, nil
}

// may says whether there is another step to do.
func (h *host) may() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stepped++
	if h.cut > 0 && h.stepped > h.cut {
		h.killed()
		return errCut
	}
	return nil
}

func (h *host) Raise(_ context.Context, number int) error {
	return errors.Join(h.may(), h.launch(number))
}

func (h *host) Begin(_ context.Context, number int, join []string) error {
	if err := errors.Join(h.may(), h.plane(number).MayBegin(), h.may()); err != nil {
		return err
	}
	return h.launch(number, join...)
}

func (h *host) launch(number int, join ...string) error {
	plane := h.plane(number, join...)
	for other := range h.places {
		if err := plane.Inherit(h.plane(other)); err != nil {
			return err
		}
	}
	if err := plane.Prepare(); err != nil {
		return err
	}
	processes := plane.Processes()
	if h.only > 0 {
		processes = processes[:h.only]
	}
	supervisor, err := process.New(process.Config{Processes: processes, LogDir: filepath.Join(h.dir, fmt.Sprint(number), "logs"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(h.Context())
	ended := make(chan error, 1)
	go func() { ended <- supervisor.Run(ctx) }()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.places[number] = running{supervisor: supervisor, stop: func() { cancel(); <-ended }}
	return nil
}

func (h *host) halt(number int) {
	h.mu.Lock()
	was := h.places[number]
	h.places[number] = running{}
	h.mu.Unlock()
	if was.supervisor != nil {
		was.stop()
	}
}

func (h *host) Forget(_ context.Context, number int) error {
	if err := h.may(); err != nil {
		return err
	}
	h.halt(number)
	return errors.Join(h.may(), h.plane(number).Forget())
}

func (h *host) End(_ context.Context, number int) error {
	if err := h.may(); err != nil {
		return err
	}
	h.halt(number)
	return errors.Join(h.may(), os.RemoveAll(filepath.Join(h.dir, fmt.Sprint(number))))
}

func (h *host) Outdated(_ context.Context, number int) (bool, error) { return h.old[number], nil }

func (h *host) Halt(_ context.Context, number int) error {
	if err := h.may(); err != nil {
		return err
	}
	for n := range h.wanted {
		if n != number && h.places[n].supervisor == nil {
			h.Errorf("member %d ends while %d does not run", number, n)
		}
	}
	h.halt(number)
	h.anew = append(h.anew, number)
	delete(h.old, number)
	return h.may()
}

func (h *host) Ready(ctx context.Context, number int) error {
	if h.only > 0 {
		return h.healthy(ctx, number)
	}
	config, err := h.plane(number).BootstrapConfig()
	if err != nil {
		return err
	}
	config.Host, config.Timeout = h.plane(number).OwnURL(), time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	for {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// healthy returns when the etcd of a member says that it is, which it says of one that a majority follows.
func (h *host) healthy(ctx context.Context, number int) error {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: h.config(), DisableKeepAlives: true}, Timeout: time.Second}
	for {
		answer, err := client.Get(h.plane(number).EtcdURL() + "/health")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(answer.Status)
		}
		if ctx.Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// set says how many members are wanted, and after how many steps to be killed.
func (h *host) set(wanted, cut int, killed context.CancelFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wanted, h.cut, h.stepped, h.killed = wanted, cut, 0, killed
}

// keep has it have so many members.
func (h *host) keep(wanted int) {
	h.Helper()
	h.set(wanted, 0, nil)
	ctx, cancel := context.WithTimeout(h.Context(), 2*time.Minute)
	defer cancel()
	if err := Keep(ctx, h, h.tls); err != nil {
		h.Fatal(err)
	}
	h.begun = true
	members, err := newEtcd(h.config(), h.look()).list(ctx)
	if err != nil || len(members) != wanted {
		h.Fatalf("with %d wanted etcd has the members %+v (%v)", wanted, members, err)
	}
	for _, m := range members {
		if m.Learner {
			h.Errorf("member %+v has no vote", m)
		}
	}
}

func (h *host) look() []Place {
	places, _, err := h.Look()
	if err != nil {
		h.Fatal(err)
	}
	return places
}

// tls is by the keys of any member that has some.
func (h *host) tls() (*tls.Config, error) {
	var problems []error
	for n := range h.places {
		config, err := h.plane(n).EtcdTLS()
		if err == nil {
			return config, nil
		}
		problems = append(problems, err)
	}
	return nil, errors.Join(problems...)
}

func (h *host) config() *tls.Config {
	config, err := h.tls()
	if err != nil {
		h.Fatal(err)
	}
	return config
}

// kill ends the process of that name of a member, at once.
func (h *host) kill(number int, name string) {
	h.Helper()
	h.signal(number, name, syscall.SIGKILL)
}

func (h *host) signal(number int, name string, signal syscall.Signal) {
	h.Helper()
	for _, s := range h.places[number].supervisor.Status() {
		if s.Name == name && s.PID != 0 {
			if err := syscall.Kill(s.PID, signal); err != nil {
				h.Fatal(err)
			}
			return
		}
	}
	h.Fatalf("member %d runs no %s", number, name)
}

// loses takes a member's data away while it runs, and kills its etcd.
func (h *host) loses(number int) {
	h.Helper()
	if err := os.RemoveAll(filepath.Join(h.dir, fmt.Sprint(number), "etcd")); err != nil {
		h.Fatal(err)
	}
	h.kill(number, "etcd")
}

// spoils writes garbage into the file of a member's data while it runs, kills its etcd, and waits until that cannot start.
func (h *host) spoils(number int) {
	h.Helper()
	db := filepath.Join(h.dir, fmt.Sprint(number), "etcd", "member", "snap", "db")
	if err := os.WriteFile(db, []byte(strings.Repeat("garbage ", 1<<14)), 0o600); err != nil {
		h.Fatal(err)
	}
	h.kill(number, "etcd")
	h.eventually(fmt.Sprintf("the etcd of member %d is stuck", number), func() error {
		if !h.look()[number].Stuck {
			return errors.New("it is not")
		}
		return nil
	})
}

// writer writes, one after another, and keeps what was acknowledged. It asks another member when one does not answer.
type writer struct {
	clients []kubernetes.Interface
	acked   []string
	failed  int
}

func (h *host) writer(members int) *writer {
	h.Helper()
	config, err := h.plane(0).BootstrapConfig()
	if err != nil {
		h.Fatal(err)
	}
	w := &writer{}
	for n := range members {
		one := rest.CopyConfig(config)
		one.Host, one.Timeout = h.plane(n).OwnURL(), time.Second
		client, err := kubernetes.NewForConfig(one)
		if err != nil {
			h.Fatal(err)
		}
		w.clients = append(w.clients, client)
	}
	return w
}

func (w *writer) run(ctx context.Context) {
	at := 0
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("w-%d-%d", w.failed, i)
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		if _, err := w.clients[at].CoreV1().ConfigMaps("default").Create(ctx, object, metav1.CreateOptions{}); err != nil {
			w.failed++
			at = (at + 1) % len(w.clients)
			continue
		}
		w.acked = append(w.acked, name)
	}
}

// during runs the writer while something happens, and returns how much was acknowledged since.
func (h *host) during(w *writer, what func()) {
	h.Helper()
	ctx, stop := context.WithCancel(h.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.run(ctx) }()
	what()
	stop()
	<-ended
}

// eventually waits until something is so.
func (h *host) eventually(what string, check func() error) {
	h.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	h.Fatalf("%s: %v", what, err)
}

// serves waits until the API of a member does.
func (h *host) serves(w *writer, number int) {
	h.Helper()
	h.eventually(fmt.Sprintf("member %d serves", number), func() error {
		_, err := w.clients[number].CoreV1().Namespaces().Get(h.Context(), "default", metav1.GetOptions{})
		return err
	})
}

// TestMembersAreLost is the life of a control plane: one member becomes three; an etcd and an API server are killed; the first member loses
// its data, and then the last; another one cannot open them any more; three become one. Somebody writes all the time. All that was acknowledged is there at the end.
func TestMembersAreLost(t *testing.T) {
	h := newHost(t)
	h.keep(1)
	w := h.writer(3)
	h.serves(w, 0)
	h.during(w, func() {
		h.keep(3)
		h.serves(w, 1)
		h.serves(w, 2)
	})
	t.Logf("from one member to three: %d writes acknowledged, %d not", len(w.acked), w.failed)
	h.during(w, func() {
		for n := range 3 {
			h.kill(n, "etcd")
			h.serves(w, n)
		}
		h.kill(1, "kube-apiserver")
		h.serves(w, 1)
	})
	t.Logf("killed: %d writes acknowledged, %d not", len(w.acked), w.failed)
	for _, n := range []int{0, 2} {
		before := len(w.acked)
		h.during(w, func() {
			h.loses(n)
			h.keep(3)
			h.serves(w, n)
		})
		if len(w.acked) == before {
			t.Errorf("while member %d was replaced nothing was acknowledged", n)
		}
	}
	before := len(w.acked)
	h.during(w, func() {
		h.spoils(1)
		h.keep(3)
		h.serves(w, 1)
	})
	if len(w.acked) == before {
		t.Error("while a member that could not open its data was replaced nothing was acknowledged")
	}
	t.Logf("replaced: %d writes acknowledged, %d not", len(w.acked), w.failed)
	h.keep(1)
	w.clients = w.clients[:1]
	h.serves(w, 0)
	h.during(w, func() { h.kill(0, "etcd"); h.serves(w, 0) })
	there := map[string]bool{}
	h.eventually("all can be read", func() error {
		all, err := w.clients[0].CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
		for i := range all.Items {
			there[all.Items[i].Name] = true
		}
		return err
	})
	for _, name := range w.acked {
		if !there[name] {
			t.Errorf("%s was acknowledged, and is lost (of %d)", name, len(w.acked))
		}
	}
	if entries, err := os.ReadDir(h.dir); err != nil || len(entries) != 1 {
		t.Errorf("of the members that ended is left %v (%v)", entries, err)
	}
}

// TestAnewOneAfterAnother: all members are to start anew, and the etcd of one hangs. None of the others ends for it; the one that is ill
// starts anew first, and then they do.
func TestAnewOneAfterAnother(t *testing.T) {
	h := newHost(t)
	h.keep(1)
	h.keep(3)
	w := h.writer(3)
	for n := range 3 {
		h.serves(w, n)
	}
	renew := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		return Renew(ctx, h, h.tls)
	}
	// Not outdated itself: nobody starts it anew, and nobody may end.
	h.old = map[int]bool{0: true, 1: true}
	h.signal(2, "etcd", syscall.SIGSTOP)
	err := renew()
	for _, want := range []string{"member ha-0 does not start anew while another one is not ready: ha-2", "member ha-1 does not"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with the etcd of member 2 stopped: got %v, want %q", err, want)
		}
	}
	if len(h.anew) > 0 {
		t.Fatalf("with the etcd of member 2 stopped, %v ended", h.anew)
	}
	h.serves(w, 0) // by a majority of two
	h.old[2] = true
	if err := renew(); err == nil || fmt.Sprint(h.anew) != "[2]" {
		t.Errorf("with all outdated, and member 2 ill: %v ended (%v)", h.anew, err)
	}
	if err := renew(); err != nil || fmt.Sprint(h.anew) != "[2 0 1]" {
		t.Errorf("with nobody ill: %v ended (%v)", h.anew, err)
	}
	for n := range 3 {
		h.serves(w, n)
	}
}

// TestKilledAtEveryStep: whoever changes the members, or has them start anew for another version, is killed after its first step, then
// after its second, and so on; the next one finds what is half done, and ends it. At no time two of three do not run for it.
func TestKilledAtEveryStep(t *testing.T) {
	h := newHost(t)
	h.only = 1 // an etcd each
	killed := func(what string, wanted int, do func(context.Context) error) {
		t.Helper()
		cut := 0
		for err := errCut; err != nil; {
			cut++
			ctx, kill := context.WithTimeout(t.Context(), time.Minute)
			h.set(wanted, cut, kill)
			err = do(ctx)
			late := errors.Is(ctx.Err(), context.DeadlineExceeded)
			kill()
			if err != nil && late || cut > 30 {
				t.Fatalf("%s, killed after %d steps: %v", what, cut, err)
			}
		}
		t.Logf("%s: killed after each of %d steps", what, cut-1)
		h.keep(wanted)
	}
	keep := func(ctx context.Context) error { return Keep(ctx, h, h.tls) }
	killed("1 member", 1, keep)
	killed("3 members", 3, keep)
	h.old = map[int]bool{0: true, 1: true, 2: true}
	killed("another version", 3, func(ctx context.Context) error { // as package local does it
		if err := keep(ctx); err != nil {
			return err
		}
		return Renew(ctx, h, h.tls)
	})
	if fmt.Sprint(h.anew) != "[0 1 2]" {
		t.Errorf("%v started anew", h.anew)
	}
	killed("1 member again", 1, keep)
}
