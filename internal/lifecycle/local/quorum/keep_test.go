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

// killAll ends all processes of a member, at once.
func (h *host) killAll(number int) {
	h.Helper()
	for _, s := range h.places[number].supervisor.Status() {
		if s.PID == 0 { // it waits to be started again
			continue
		}
		if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			h.Fatal(err)
		}
	}
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

// end kills the etcd of a member unless that has ended by itself.
func (h *host) end(number int) {
	h.Helper()
	for _, s := range h.places[number].supervisor.Status() {
		if s.Name != "etcd" || s.PID == 0 {
			continue
		}
		if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			h.Fatal(err)
		}
	}
}

// loses takes a member's data away while it runs, and kills its etcd.
func (h *host) loses(number int) {
	h.Helper()
	if err := os.RemoveAll(filepath.Join(h.dir, fmt.Sprint(number), "etcd")); err != nil {
		h.Fatal(err)
	}
	h.end(number)
}

// spoils writes garbage into the file of a member's data while it runs, kills its etcd, and waits until that cannot start.
func (h *host) spoils(number int) {
	h.Helper()
	db := filepath.Join(h.dir, fmt.Sprint(number), "etcd", "member", "snap", "db")
	if err := os.WriteFile(db, []byte(strings.Repeat("garbage ", 1<<14)), 0o600); err != nil {
		h.Fatal(err)
	}
	h.end(number)
	h.eventually(fmt.Sprintf("the etcd of member %d is stuck", number), func() error {
		if !h.look()[number].Stuck {
			return errors.New("it is not")
		}
		return nil
	})
}

// address is where a member serves the API.
func (h *host) address(number int) *rest.Config {
	h.Helper()
	config, err := h.plane(0).BootstrapConfig() // all have the same keys
	if err != nil {
		h.Fatal(err)
	}
	config.Host, config.Timeout = h.plane(number).OwnURL(), time.Second
	return config
}

func (h *host) client(number int) kubernetes.Interface {
	h.Helper()
	client, err := kubernetes.NewForConfig(h.address(number))
	if err != nil {
		h.Fatal(err)
	}
	return client
}

// writers write to three members, each in its own time.
func (h *host) writers(number int) *kubetest.Writers {
	h.Helper()
	w, err := kubetest.NewWriters("default", number, 25*time.Millisecond, h.address(0), h.address(1), h.address(2))
	if err != nil {
		h.Fatal(err)
	}
	return w
}

// during has them write while something happens, and says what came of it.
func (h *host) during(w *kubetest.Writers, what string, do func()) kubetest.Spell {
	h.Helper()
	end := w.Begin(h.Context())
	do()
	spell := end()
	h.Logf("%s: %s", what, spell)
	return spell
}

// kept reads from a member whether all is there that was acknowledged.
func (h *host) kept(w *kubetest.Writers, number int) {
	h.Helper()
	client := h.client(number)
	var lost []string
	h.eventually(fmt.Sprintf("member %d can be read", number), func() (err error) {
		lost, err = w.Check(h.Context(), client)
		return err
	})
	for _, problem := range lost[:min(10, len(lost))] {
		h.Errorf("member %d: %s (%d in all)", number, problem, len(lost))
	}
}

// eventually waits until something is so.
func (h *host) eventually(what string, check func() error) {
	h.Helper()
	var err error
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	h.Fatalf("%s: %v", what, err)
}

// serves waits until the API of a member does.
func (h *host) serves(number int) {
	h.Helper()
	client := h.client(number)
	h.eventually(fmt.Sprintf("member %d serves", number), func() error {
		_, err := client.CoreV1().Namespaces().Get(h.Context(), "default", metav1.GetOptions{})
		return err
	})
}

// TestMembersAreLost is the life of a control plane: one member becomes three; each etcd is killed, and then all that one member runs; the
// first member loses its data, and then the last; another one cannot open them any more; three become one. Eight write all the time, each
// what is its own. Whatever was acknowledged to one of them is there at the end, with each member.
func TestMembersAreLost(t *testing.T) {
	h := newHost(t)
	h.keep(1)
	h.serves(0)
	w := h.writers(8)
	h.during(w, "from one member to three", func() {
		h.keep(3)
		h.serves(1)
		h.serves(2)
	})
	for n := range 3 {
		h.during(w, fmt.Sprintf("the etcd of member %d killed", n), func() {
			h.kill(n, "etcd")
			h.serves(n)
		})
	}
	h.during(w, "all of member 1 killed", func() {
		h.killAll(1)
		h.serves(1)
	})
	replaced := func(what string, number int, lose func(int)) {
		t.Helper()
		spell := h.during(w, what, func() {
			lose(number)
			h.keep(3)
			h.serves(number)
		})
		if spell.Created == 0 || spell.Updated == 0 {
			t.Errorf("while member %d was replaced too little was acknowledged: %s", number, spell)
		}
	}
	replaced("the data of member 0 lost", 0, h.loses)
	replaced("the data of member 2 lost", 2, h.loses)
	replaced("the data of member 1 garbage", 1, h.spoils)
	for n := range 3 {
		h.kept(w, n)
	}
	h.keep(1)
	if err := w.Reach(h.address(0)); err != nil {
		t.Fatal(err)
	}
	h.serves(0)
	h.during(w, "the only etcd killed", func() { h.kill(0, "etcd"); h.serves(0) })
	h.kept(w, 0)
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
	for n := range 3 {
		h.serves(n)
	}
	renew := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		return Renew(ctx, h, h.tls)
	}
	// Not outdated itself: nobody starts it anew, and nobody may end.
	h.old = map[int]bool{0: true, 1: true}
	h.signal(2, "etcd", syscall.SIGSTOP)
	h.eventually("member 2 is not ready", func() error { // its API server says for a second what it found last
		soon, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if h.Ready(soon, 2) == nil {
			return errors.New("it says that it is")
		}
		return nil
	})
	err := renew()
	for _, want := range []string{"member ha-0 does not start anew while another one is not ready: ha-2", "member ha-1 does not"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with the etcd of member 2 stopped: got %v, want %q", err, want)
		}
	}
	if len(h.anew) > 0 {
		t.Fatalf("with the etcd of member 2 stopped, %v ended", h.anew)
	}
	h.serves(0) // by a majority of two
	h.old[2] = true
	if err := renew(); err == nil || fmt.Sprint(h.anew) != "[2]" {
		t.Errorf("with all outdated, and member 2 ill: %v ended (%v)", h.anew, err)
	}
	if err := renew(); err != nil || fmt.Sprint(h.anew) != "[2 0 1]" {
		t.Errorf("with nobody ill: %v ended (%v)", h.anew, err)
	}
	for n := range 3 {
		h.serves(n)
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
