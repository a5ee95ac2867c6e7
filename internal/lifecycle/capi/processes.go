package capi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/process"
)

// processes are those that run now, by the name of their provider.
type processes struct {
	begin chan func(context.Context)

	mu   sync.Mutex
	runs map[string]*run
}

// run is a provider that was started.
type run struct {
	spec       v1alpha1.ProviderSpec // that it was started with
	keys       *keys                 // that it keeps, nil when it keeps none
	supervisor *process.Supervisor
	logFile    string
	stop       context.CancelFunc
	stopped    chan struct{}
}

func newProcesses() *processes {
	return &processes{begin: make(chan func(context.Context)), runs: map[string]*run{}}
}

// Start carries out what is begun until ctx ends, and returns when no process is left. It implements manager.Runnable, and
// like every one that does not say otherwise it runs where the hub leads.
func (p *processes) Start(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case do := <-p.begin:
			running.Go(func() { do(ctx) })
		}
	}
}

// of returns what runs for a provider, nil if nothing does.
func (p *processes) of(provider string) *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runs[provider]
}

// start keeps a run going until it is stopped or the hub ends.
func (p *processes) start(ctx context.Context, provider string, r *run) error {
	r.stopped = make(chan struct{})
	begun := make(chan struct{})
	do := func(life context.Context) {
		defer close(r.stopped)
		life, r.stop = context.WithCancel(life)
		defer r.stop()
		close(begun)
		r.keys.around(life, func() {
			_ = r.supervisor.Run(life) // its folder of logs is there
		})
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case p.begin <- do:
	}
	<-begun
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs[provider] = r
	return nil
}

// end stops what runs for a provider, and waits for its end. It is no error when nothing runs.
func (p *processes) end(provider string) {
	r := p.of(provider)
	if r == nil {
		return
	}
	r.stop()
	<-r.stopped
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.runs, provider)
}

// look says how the program of a run does: it is the last of its processes.
func (r *run) look() judged {
	all := r.supervisor.Status()
	s := all[len(all)-1]
	return judged{ready: s.Ready, restarts: s.Restarts, lastExit: s.LastExit, logFile: r.logFile}
}

// answers returns a probe of a process that serves /readyz.
func answers(port int) func(context.Context) error {
	url := fmt.Sprintf("http://127.0.0.1:%d/readyz", port)
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		if err := response.Body.Close(); err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return errors.New("it answers " + response.Status)
		}
		return nil
	}
}
