package scrape

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/edge"
)

const (
	// sourceTimeout is how long one source may take.
	sourceTimeout = 15 * time.Second
	// late is how long all may take together that did not answer in the round before.
	late = 15 * time.Second
)

// question is one to an API server, a node or a pod.
type question struct {
	// of is the source by which it is known whether it answered in the round before.
	of source
	// ask asks it, and returns an answer for each of its sources. It may be called at the same time as that of others.
	ask func(ctx context.Context, of source) []said
}

// said is what a source answered.
type said struct {
	from  source
	rules edge.Rules
	text  []byte // what is kept of it
	at    time.Time
	err   error

	reading *edge.Reading // of a pod; nil for all else
}

// ofAPIServers are the questions to the member's API servers.
func (s *Scraper) ofAPIServers(ctx context.Context, profile v1alpha1.MetricsProfile) (questions []question) {
	rules := edge.RulesOf(profile, edge.APIServer)
	for instance, api := range s.apiServers(ctx) {
		questions = append(questions, question{
			of: source{job: edge.APIServer, instance: instance},
			ask: func(ctx context.Context, of source) []said {
				a := said{from: of, rules: rules, at: s.Now()}
				a.text, a.err = s.read(ctx, api, edge.APIServer.Path(), rules)
				return []said{a}
			},
		})
	}
	return questions
}

// ofNodes are the questions to nodes: all jobs of one are one question, as one that is dead is so for all.
func (s *Scraper) ofNodes(nodes []string, profile v1alpha1.MetricsProfile) (questions []question) {
	for _, node := range nodes {
		questions = append(questions, question{
			of:  source{job: edge.NodeJobs(profile)[0], instance: node},
			ask: func(ctx context.Context, of source) []said { return s.askNode(ctx, of.instance, profile) },
		})
	}
	return questions
}

func (s *Scraper) askNode(ctx context.Context, node string, profile v1alpha1.MetricsProfile) (answers []said) {
	var dead error
	for _, job := range edge.NodeJobs(profile) {
		a := said{from: source{job: job, instance: node}, rules: edge.RulesOf(profile, job), at: s.Now(), err: dead}
		if dead == nil {
			a.text, a.err = s.read(ctx, s.client.RESTClient(), "/api/v1/nodes/"+node+"/proxy"+job.Path(), a.rules)
		}
		if errors.Is(a.err, context.DeadlineExceeded) {
			dead = a.err
		}
		answers = append(answers, a)
	}
	return answers
}

// askAll asks API servers and nodes, and then pods. Those that did not answer in the round before come last, in any order, and have a time together: what is dead takes none
// from others.
func (s *Scraper) askAll(ctx context.Context, b *batch, machines, pods []question) error {
	machines, dead := b.split(machines)
	pods, silent := b.split(pods)
	if err := s.askSome(ctx, b, machines, &s.together); err != nil {
		return err
	}
	if err := s.askWithin(ctx, b, pods, &s.together, allPods); err != nil {
		return err
	}
	return s.askWithin(ctx, b, shuffled(append(dead, silent...)), &s.together, late)
}

// askPods asks pods alone, likewise, and all of them within a time.
func (s *Scraper) askPods(ctx context.Context, b *batch, pods []question, from *places, within time.Duration) error {
	end := time.Now().Add(within)
	pods, dead := b.split(pods)
	if err := s.askWithin(ctx, b, pods, from, min(within, allPods)); err != nil {
		return err
	}
	return s.askWithin(ctx, b, shuffled(dead), from, min(max(time.Until(end), within/4), late)) // where the others took all of it, they are asked nevertheless
}

func (s *Scraper) askWithin(ctx context.Context, b *batch, questions []question, from *places, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return s.askSome(ctx, b, questions, from)
}

func shuffled(questions []question) []question {
	rand.Shuffle(len(questions), func(i, j int) { questions[i], questions[j] = questions[j], questions[i] })
	return questions
}

// split sorts out those that did not answer in the round before.
func (b *batch) split(all []question) (well, failing []question) {
	for _, q := range all {
		if b.before.failed[q.of] {
			failing = append(failing, q)
		} else {
			well = append(well, q)
		}
	}
	return well, failing
}

// askSome asks, some at a time, and adds what is said. The error says that something could not be kept.
func (s *Scraper) askSome(ctx context.Context, b *batch, questions []question, from *places) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel() // first, where something could not be kept
	answers := make(chan []said)
	asking.Go(func() {
		for _, q := range questions {
			leave := from.take(ctx)
			if leave == nil { // its time is over, and so it says
				answers <- q.ask(ctx, q.of)
				continue
			}
			asking.Go(func() {
				defer leave() // once the answer is taken: so many are in memory
				answers <- q.ask(ctx, q.of)
			})
		}
	})
	var failed error
	for range questions {
		for _, a := range <-answers {
			added := 0
			switch {
			case a.err != nil || failed != nil:
			case a.reading != nil:
				added, a.err = b.pod(a.text, a.reading, a.from, a.at)
			default:
				added, a.err = b.text(a.text, a.rules, a.from, a.at)
			}
			if failed == nil {
				failed = s.ended(b, a.from, a.at, added, a.err)
			}
		}
		if failed != nil {
			cancel()
		}
	}
	return failed
}
