package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

const (
	goalResync = 1.0 // s of CPU for 10,000 objects
	// quiet is how long a process has to do nothing to be done.
	quiet = 3 * time.Second
)

// agentName is how the cluster's API server knows the agent.
const agentName = "system:serviceaccount:" + v1alpha1.AgentNamespace + ":umbel-agent"

// measureResync measures what it costs an agent to find out that everything is as it should be: after a commit that
// changes one of them, and after its own start, when it knows nothing but what is on its disk. The cluster's audit log says what it asked
// for and wrote meanwhile.
func measureResync(ctx context.Context, fleet *rig.Fleet, r *report.Report, of size, seed uint64) error {
	s, err := newSite(ctx, fleet, of, seed)
	if err != nil {
		return err
	}
	if _, _, err := s.packageRate(ctx); err != nil {
		return err
	}
	if _, err := s.settle(ctx); err != nil {
		return err
	}
	if !s.strict { // a plan of one change asks about every object, which would be most of what is measured
		if err := s.oneOfAll(ctx, r); err != nil {
			return err
		}
	}
	const rounds = 3
	var cpu, rss []float64
	var asked audited
	for range rounds {
		log, err := s.auditLog()
		if err != nil {
			return err
		}
		if err := s.restartAgent(ctx); err != nil {
			return err
		}
		spent, err := s.settle(ctx)
		if err != nil {
			return err
		}
		if err := s.awaitApplied(ctx); err != nil {
			return err
		}
		if asked, err = log.since(); err != nil {
			return err
		}
		if len(asked.writes) > 0 {
			fmt.Fprintf(os.Stderr, "  the agent wrote: %v\n", asked.writes)
		}
		m, err := rig.MemoryOf(s.agent)
		if err != nil {
			return err
		}
		cpu, rss = append(cpu, spent), append(rss, m.Peak)
	}
	r.Lower(s.label("agent started anew: CPU until all is known to be as it should"), median(cpu), "s", goalResync)
	r.Lower(s.label("agent started anew: writes to what packages hold"), float64(asked.count(asked.writes)), "", 0)
	r.Lower(s.label("agent started anew: requests in all"), float64(asked.requests), "", 0)
	r.Lower(s.label("agent started anew: RSS, peak"), median(rss), "MiB", goalMemory)
	return s.watched(ctx, r, asked)
}

// oneOfAll changes one object of them all by a commit, three times.
func (s *site) oneOfAll(ctx context.Context, r *report.Report) error {
	var cpu, whole []float64
	writes := 0
	for i := range 3 {
		log, err := s.auditLog()
		if err != nil {
			return err
		}
		before, err := rig.CPUOf(s.agent)
		if err != nil {
			return err
		}
		name, start := objectName(i), time.Now()
		changed := strings.Replace(string(manifest(s.name, name)), `"v":"1"`, fmt.Sprintf(`"round":"%d","v":"1"`, i), 1)
		if err := s.fleet.Commit(ctx, s.label(fmt.Sprintf("one object, %d", i)), map[string]string{s.packages()[0] + "/" + name + ".yaml": changed}); err != nil {
			return err
		}
		if err := s.awaitRevision(ctx); err != nil {
			return err
		}
		whole = append(whole, time.Since(start).Seconds())
		after, err := s.settle(ctx)
		if err != nil {
			return err
		}
		asked, err := log.since()
		if err != nil {
			return err
		}
		cpu, writes = append(cpu, after-before), writes+asked.count(asked.writes)
	}
	r.Lower(s.label("one object of them changes: commit until the Package says that it is applied"), median(whole), "s", 0)
	r.Lower(s.label("one object of them changes: agent CPU"), median(cpu), "s", goalResync)
	r.Lower(s.label("one object of them changes: writes, in 3 rounds"), float64(writes), "", 3)
	return nil
}

// watched reports what the agent watches beside what its packages are made of.
func (s *site) watched(ctx context.Context, r *report.Report, asked audited) error {
	applied, err := s.appliedKinds(ctx)
	if err != nil {
		return err
	}
	others := 0
	for resource := range asked.watches {
		if !applied[resource] {
			others++
			fmt.Fprintf(os.Stderr, "  the agent watches %s, and no package holds any\n", resource)
		}
	}
	r.Lower(s.label("kinds that packages hold"), float64(len(applied)), "", 0)
	r.Lower(s.label("watches of the agent for each of those"), float64(asked.count(asked.watches)-others)/float64(len(applied)), "", 1)
	r.Lower(s.label("watches of the agent for anything else"), float64(others), "", 0)
	return nil
}

// appliedKinds are the resources that objects of packages are of, or that guard them.
func (s *site) appliedKinds(ctx context.Context) (map[schema.GroupResource]bool, error) {
	config, err := s.fleet.Member("bench")
	if err != nil {
		return nil, err
	}
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	lists, err := s.client.Discovery().ServerPreferredResources()
	if err != nil {
		return nil, err
	}
	resources, err := discovery.GroupVersionResources(discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "watch"}}, lists))
	if err != nil {
		return nil, err
	}
	applied := map[schema.GroupResource]bool{}
	for resource := range resources {
		found, err := client.Resource(resource).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.PackageLabel, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(found.Items) > 0 {
			applied[resource.GroupResource()] = true
		}
	}
	return applied, nil
}

// settle waits until the agent has nothing to do, and returns the processor time that it has used since its start.
func (s *site) settle(ctx context.Context) (float64, error) {
	last, since := -1.0, time.Now()
	for time.Since(since) < quiet {
		now, err := rig.CPUOf(s.agent)
		if err != nil {
			return 0, err
		}
		if now > last+0.01 { // a hundredth in three seconds is signs of life
			last, since = now, time.Now()
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return last, nil
}

// restartAgent kills the agent, and returns when the kubelet has started another one.
func (s *site) restartAgent(ctx context.Context) error {
	before := s.agent
	if err := kill(before); err != nil {
		return err
	}
	return rig.Eventually(ctx, 2*time.Minute, func(context.Context) (err error) {
		if s.agent, err = s.findAgent(); err == nil && s.agent == before {
			return errors.New("the agent has not ended")
		}
		return err
	})
}

// auditLog is the cluster's audit log from a moment on.
type auditLog struct {
	path string
	from int64
}

func (s *site) auditLog() (auditLog, error) {
	path := s.fleet.Home + "/local/bench/audit/bench-0/audit.log"
	info, err := os.Stat(path)
	if err != nil {
		return auditLog{}, err
	}
	return auditLog{path, info.Size()}, nil
}

// audited is what the agent asked for, by resource.
type audited struct {
	requests        int
	writes, watches map[schema.GroupResource]int
}

func (a audited) count(of map[schema.GroupResource]int) (n int) {
	for _, each := range slices.Collect(maps.Values(of)) {
		n += each
	}
	return n
}

// since reads what the agent has asked for since the moment. What it writes of its own, in its own namespace, does not count.
func (l auditLog) since() (audited, error) {
	a := audited{writes: map[schema.GroupResource]int{}, watches: map[schema.GroupResource]int{}}
	raw, err := os.ReadFile(l.path)
	if err != nil {
		return a, err
	}
	if int64(len(raw)) < l.from {
		return a, errors.New("the audit log was rotated while it was needed: measure again")
	}
	decoder := json.NewDecoder(bytes.NewReader(raw[l.from:]))
	for {
		var event struct {
			Stage, Verb  string
			User         struct{ Username string }
			Impersonated *struct{ Username string } `json:"impersonatedUser"`
			ObjectRef    struct{ APIGroup, Resource, Namespace string }
		}
		if err := decoder.Decode(&event); errors.Is(err, io.EOF) {
			return a, nil
		} else if err != nil {
			return a, fmt.Errorf("reading %s: %w", l.path, err)
		}
		if event.User.Username != agentName || event.Impersonated != nil || event.ObjectRef.Namespace == v1alpha1.AgentNamespace {
			continue
		}
		resource := schema.GroupResource{Group: event.ObjectRef.APIGroup, Resource: event.ObjectRef.Resource}
		switch {
		case event.Verb == "watch" && event.Stage == "ResponseStarted":
			a.watches[resource]++
		case strings.Contains("create update patch delete deletecollection", event.Verb):
			a.writes[resource]++
		}
		if event.Stage != "ResponseStarted" {
			a.requests++
		}
	}
}
