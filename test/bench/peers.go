package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

// engines are those of others, which `make peers` builds. Argo CD's is not given more than it can do in a few minutes.
var engines = []struct {
	name, program string
	most          int
}{
	{"Argo CD's gitops-engine", "gitopsengine", 1000},
	{"Config Sync's cli-utils", "cliutils", 1 << 30},
	{"Flux's ssa", "fluxssa", 1 << 30},
}

// pass is what it took an engine to bring the cluster to what a folder says.
type pass struct {
	Objects int     `json:"objects"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"`
	RSS     float64 `json:"rss"`
	Peak    float64 `json:"peak"`
	asked   requests
}

// passes are the three that are compared: from nothing, with nothing to do, and with one object that changed.
type passes struct{ first, again, one pass }

// measurePeers has the same objects applied by the engines of others and as a Package, on the same cluster one after the other,
// with the bare program before and after. An engine begins with the files in a folder; a Package with the commit, so that
// it is fetched, rendered, pushed and pulled as well.
func measurePeers(ctx context.Context, fleet *rig.Fleet, r *report.Report, of size, seed uint64) error {
	s, err := newSite(ctx, fleet, of, seed)
	if err != nil {
		return err
	}
	before, err := s.bareRate(ctx, s.limit())
	if err != nil {
		return err
	}
	found := map[string]passes{}
	var names []string
	for _, e := range engines {
		if of.objects > e.most {
			continue
		}
		p, err := s.engine(ctx, e.program)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		names = append(names, e.name)
		found[e.name] = p
	}
	ours, err := s.umbel(ctx)
	if err != nil {
		return err
	}
	after, err := s.bareRate(ctx, bare{s.client, s.name + "-bare-again"})
	if err != nil {
		return err
	}
	r.Higher(s.label("first apply: bare"), (before+after)/2, "objects/s", 0)
	s.tell(r, "Umbel, everything on", ours)
	for _, name := range names {
		s.tell(r, name, found[name])
		r.Higher(s.label("first apply: Umbel against "+name), found[name].first.Seconds/ours.first.Seconds, "times as fast", 0)
		r.Higher(s.label("nothing changed: processor of Umbel against "+name), found[name].again.CPU/ours.again.CPU, "times less", 0)
		r.Higher(s.label("one object changed: Umbel against "+name), found[name].one.Seconds/ours.one.Seconds, "times as fast", 0)
	}
	return nil
}

func (s *site) tell(r *report.Report, name string, p passes) {
	n := float64(s.n)
	r.Higher(s.label("first apply: "+name), n/p.first.Seconds, "objects/s", 0)
	r.Lower(s.label("first apply: "+name), p.first.CPU, "s of CPU", 0)
	r.Lower(s.label("nothing changed: "+name), p.again.Seconds, "s", 0)
	r.Lower(s.label("nothing changed: "+name), p.again.CPU, "s of CPU", 0)
	r.Lower(s.label("nothing changed: "+name), float64(p.again.asked.all())/n, "requests for each object", 0)
	r.Lower(s.label("nothing changed: "+name), float64(p.again.asked.writes), "writes", 0)
	r.Lower(s.label("one object changed: "+name), p.one.Seconds, "s", 0)
	r.Lower(s.label("one object changed: "+name), p.one.CPU, "s of CPU", 0)
	r.Lower(s.label("one object changed: "+name), float64(p.one.asked.all())/n, "requests for each object", 0)
	r.Lower(s.label("one object changed: "+name), float64(p.one.asked.writes), "writes", 0)
	r.Lower(s.label("memory: "+name), max(p.first.Peak, p.again.Peak, p.one.Peak), "MiB", 0)
}

// engine runs the program of another engine: one process for the three passes.
func (s *site) engine(ctx context.Context, program string) (p passes, err error) {
	folder, namespace := filepath.Join(s.fleet.Home, program), s.name+"-"+program
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return p, err
	}
	files := map[string]string{"namespace": "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + namespace + "}\n"}
	for i := range s.n {
		files[objectName(i)] = string(manifest(namespace, objectName(i)))
	}
	write := func(name, content string) error {
		return os.WriteFile(filepath.Join(folder, name+".yaml"), []byte(content), 0o644)
	}
	for name, content := range files {
		if err := write(name, content); err != nil {
			return p, err
		}
	}
	cmd := exec.CommandContext(ctx, rig.Binary(program), "-repeat", "-kubeconfig", filepath.Join(s.fleet.Home, "local", "bench", "kubeconfig"), folder)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return p, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return p, err
	}
	if err := cmd.Start(); err != nil {
		return p, fmt.Errorf("%w; `make peers` builds it", err)
	}
	running := running{s, in, json.NewDecoder(out)}
	p, err = running.three(ctx, func() error { return write(objectName(0), changedOnce(files[objectName(0)])) })
	return p, errors.Join(err, in.Close(), cmd.Wait())
}

func changedOnce(manifest string) string {
	return strings.Replace(manifest, `"v":"1"`, `"round":"1","v":"1"`, 1)
}

// running is a program that makes a pass for each line that it is given.
type running struct {
	site *site
	in   io.Writer
	out  *json.Decoder
}

func (e *running) three(ctx context.Context, change func() error) (p passes, err error) {
	before, err := e.site.asked(ctx)
	if err != nil {
		return p, err
	}
	for i, each := range []*pass{&p.first, &p.again, &p.one} {
		if i == 2 {
			if err := change(); err != nil {
				return p, err
			}
		}
		if i > 0 {
			select { // a cache that follows the cluster has caught up by then
			case <-time.After(quiet):
			case <-ctx.Done():
				return p, ctx.Err()
			}
			if _, err := fmt.Fprintln(e.in); err != nil {
				return p, err
			}
		}
		if err := e.out.Decode(each); err != nil {
			return p, fmt.Errorf("reading what pass %d took: %w", i+1, err)
		}
		after, err := e.site.asked(ctx)
		if err != nil {
			return p, err
		}
		each.asked, before = after.since(before), after
	}
	return p, nil
}

// umbel does the same with a Package. With nothing to do is an agent that is started anew, the only time at which it looks at
// everything.
func (s *site) umbel(ctx context.Context) (p passes, err error) {
	p.first, err = s.taking(ctx, func() (float64, error) {
		_, whole, err := s.packageRate(ctx)
		return whole.Seconds(), err
	})
	if err != nil {
		return p, err
	}
	p.one, err = s.taking(ctx, func() (float64, error) {
		start := time.Now()
		changed := changedOnce(string(manifest(s.name, objectName(0))))
		if err := s.fleet.Commit(ctx, s.label("one object"), map[string]string{s.name + "/" + objectName(0) + ".yaml": changed}); err != nil {
			return 0, err
		}
		err := s.awaitRevision(ctx)
		return time.Since(start).Seconds(), err
	})
	if err != nil {
		return p, err
	}
	before, err := s.asked(ctx)
	if err != nil {
		return p, err
	}
	if err := s.restartAgent(ctx); err != nil {
		return p, err
	}
	start := time.Now()
	if p.again.CPU, err = s.settle(ctx); err != nil {
		return p, err
	}
	p.again.Seconds = (time.Since(start) - quiet).Seconds()
	after, err := s.asked(ctx)
	if err != nil {
		return p, err
	}
	p.again.asked = after.since(before)
	m, err := rig.MemoryOf(s.agent)
	p.again.RSS, p.again.Peak = m.Now, m.Peak
	return p, err
}

// taking measures what something takes of the agent and of the API server, until the agent has nothing to do.
func (s *site) taking(ctx context.Context, do func() (float64, error)) (p pass, err error) {
	before, err := s.asked(ctx)
	if err != nil {
		return p, err
	}
	spent, err := rig.CPUOf(s.agent)
	if err != nil {
		return p, err
	}
	if p.Seconds, err = do(); err != nil {
		return p, err
	}
	if p.CPU, err = s.settle(ctx); err != nil {
		return p, err
	}
	p.CPU -= spent
	after, err := s.asked(ctx)
	if err != nil {
		return p, err
	}
	p.asked = after.since(before)
	m, err := rig.MemoryOf(s.agent)
	p.RSS, p.Peak = m.Now, m.Peak
	return p, err
}

// requests are those about ConfigMaps that the API server has answered.
type requests struct{ reads, dryRuns, writes int }

func (r requests) all() int { return r.reads + r.dryRuns + r.writes }

func (r requests) since(before requests) requests {
	return requests{r.reads - before.reads, r.dryRuns - before.dryRuns, r.writes - before.writes}
}

// asked reads them from the API server's metrics.
func (s *site) asked(ctx context.Context) (found requests, err error) {
	raw, err := s.client.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return found, fmt.Errorf("reading the API server's metrics: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		line, counts := strings.CutPrefix(line, "apiserver_request_total{")
		labels, value, _ := strings.Cut(line, "} ")
		if !counts || !strings.Contains(labels, `resource="configmaps"`) {
			continue
		}
		var n float64
		if _, err := fmt.Sscan(value, &n); err != nil {
			return found, fmt.Errorf("reading the API server's metrics: %q: %w", line, err)
		}
		switch {
		case strings.Contains(labels, `verb="GET"`), strings.Contains(labels, `verb="LIST"`), strings.Contains(labels, `verb="WATCH"`):
			found.reads += int(n)
		case strings.Contains(labels, `dry_run="All"`):
			found.dryRuns += int(n)
		default:
			found.writes += int(n)
		}
	}
	return found, nil
}
