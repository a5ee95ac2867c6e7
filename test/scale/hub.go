package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/test/rig"
)

// profileAddress is where a hub that is profiled serves its profiles.
const profileAddress = "127.0.0.1:16060"

// hubProcess is the hub under test.
type hubProcess struct {
	fleet    *rig.Fleet
	profiled bool
	cmd      *exec.Cmd
	ended    chan struct{}
}

func (h *hubProcess) repository() string { return h.fleet.Repository() }

// start starts the hub and returns when its gateway answers.
func (h *hubProcess) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(h.fleet.Home, "hub.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	h.cmd = exec.Command(rig.Binary("umbel"), "hub", "--listen", "127.0.0.1", "--allow-local-sources", h.repository())
	if h.profiled {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		h.cmd = exec.Command(self, "-hub", h.fleet.Home)
	}
	h.cmd.Env = append(os.Environ(), "UMBEL_HOME="+h.fleet.Home)
	h.cmd.Stdout, h.cmd.Stderr = log, log
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt of ours is not one of it: it is ended in order
	if err := h.cmd.Start(); err != nil {
		return err
	}
	h.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its log
	}(h.cmd, h.ended)
	return rig.Eventually(ctx, 2*time.Minute, func(ctx context.Context) error {
		select {
		case <-h.ended:
			return fmt.Errorf("the hub has ended; its log is %s", log.Name())
		default:
			return h.healthy(ctx)
		}
	})
}

// healthy asks the gateway whether it is open.
func (h *hubProcess) healthy(ctx context.Context) error {
	state, err := hub.ReadState(h.fleet.Home)
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(state.CAFile)
	if err != nil {
		return err
	}
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(ca)
	client := &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}, DisableKeepAlives: true},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+state.Address+"/healthz", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway answers %s", answer.Status)
	}
	return nil
}

// stop ends the hub in order, or at once when that takes too long, and its API with it.
func (h *hubProcess) stop() error {
	if h.cmd == nil {
		return nil
	}
	for _, how := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := h.cmd.Process.Signal(how); err != nil {
			break // it has ended
		}
		select {
		case <-h.ended:
		case <-time.After(40 * time.Second):
		}
	}
	left, err := h.control()
	for _, pid := range left {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return err
}

// control returns the processes of the hub's own API: etcd and the API server.
func (h *hubProcess) control() ([]int, error) {
	return h.fleet.Processes(rig.Binary("umbel-kube"), h.fleet.Home)
}

// usage is what a process has and has used.
type usage struct{ rss, peak, cpu float64 } // MiB, MiB, seconds

func usageOf(pids ...int) (usage, error) {
	var sum usage
	for _, pid := range pids {
		memory, err := rig.MemoryOf(pid)
		if err != nil {
			return sum, err
		}
		cpu, err := rig.CPUOf(pid)
		if err != nil {
			return sum, err
		}
		sum.rss, sum.peak, sum.cpu = sum.rss+memory.Now, sum.peak+memory.Peak, sum.cpu+cpu
	}
	return sum, nil
}

// usages returns what the hub, its API, and the processes of the agents use.
func (h *hubProcess) usages(workers []int) (own, api, agents usage, err error) {
	if own, err = usageOf(h.cmd.Process.Pid); err != nil {
		return
	}
	pids, err := h.control()
	if err != nil {
		return
	}
	if api, err = usageOf(pids...); err != nil {
		return
	}
	agents, err = usageOf(workers...)
	return
}

// serveProfiledHub runs what `umbel hub` runs, and serves profiles of it.
func serveProfiledHub(ctx context.Context, home string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	server := &http.Server{Addr: profileAddress, Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = server.ListenAndServe() }()
	defer server.Close()
	return hub.Run(ctx, hub.Options{
		Home: home, Listen: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Programs: filepath.Dir(rig.Binary("umbel-kube")),
		LocalSources: []string{(&rig.Fleet{Home: home}).Repository()}, CertificateLife: 24 * time.Hour,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
}

// profile keeps a profile of the hub as FOLDER/NAME. What is asked for is as in net/http/pprof, such as "heap?gc=1".
func (h *hubProcess) profile(folder, name, what string) error {
	if folder == "" {
		return nil
	}
	client := &http.Client{Timeout: 2 * time.Minute}
	answer, err := client.Get("http://" + profileAddress + "/debug/pprof/" + what)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	file, err := os.Create(filepath.Join(folder, name))
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(file, answer.Body)
	return err
}

// lastWords is the end of the hub's log.
func (h *hubProcess) lastWords() string {
	raw, _ := os.ReadFile(filepath.Join(h.fleet.Home, "hub.log"))
	return string(raw[max(0, len(raw)-3000):])
}
