package rollout

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
)

var update = flag.Bool("update", false, "write golden files anew")

// TestStories plays each testdata/*.txtar: a strategy, what happens, and the log that comes of it.
//
// A story's lines: cluster NAME [LABEL=VALUE…] · release NAME [fails|sticks CLUSTER…] · wait DURATION · hub stops|starts ·
// clock DURATION · offline|online|leaves|returns NAME · heals NAME · blocks NAME WHY… · unblocks NAME · pause|resume|abort|back [RELEASE] · approve|promote
// STAGE [POINT] · excuse NAME · strategy none|again · gate STAGE/NAME holds|shuts|WHY… · show.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := split(string(content))
			var strategy v1alpha1.RolloutStrategy
			if err := yaml.UnmarshalStrict([]byte(parts["strategy"]), &strategy); err != nil {
				t.Fatal(err)
			}
			got := play(&strategy, parts["story"])
			if *update {
				before, _, _ := strings.Cut(string(content), "-- log --\n")
				if err := os.WriteFile(file, []byte(before+"-- log --\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(parts["log"], got); diff != "" {
				t.Errorf("the log differs (-want +got), `go test -update` accepts it:\n%s", diff)
			}
		})
	}
}

// split takes a txtar file apart: -- NAME -- begins a part.
func split(text string) map[string]string {
	parts, name := map[string]string{}, ""
	for line := range strings.Lines(text) {
		if begin, ok := strings.CutPrefix(line, "-- "); ok {
			name = strings.TrimSuffix(strings.TrimSpace(begin), " --")
			continue
		}
		parts[name] += line
	}
	return parts
}

// storyteller plays a story and keeps its log.
type storyteller struct {
	*world
	strategy *v1alpha1.RolloutStrategy
	log      strings.Builder
	stopped  bool
	bad      map[string]State  // release/cluster -> how it gets on
	gates    map[string]string // stage/gate -> holds, shuts, or why that is not known
	said     string
}

func play(strategy *v1alpha1.RolloutStrategy, story string) string {
	s := &storyteller{world: newWorld(strategy), strategy: strategy, bad: map[string]State{}, gates: map[string]string{}}
	s.news = func(rollout string, n News) { s.line("%s %s", rollout, n.Note) }
	s.outcome = func(release string, cluster v1alpha1.ClusterName) State {
		for _, key := range []string{release + "/" + string(cluster), release + "/*"} {
			if state, known := s.bad[key]; known {
				return state
			}
		}
		return Well
	}
	s.answers = func(_ string, q Question) Answer {
		switch said := s.gates[q.Stage+"/"+q.Gate.Name]; said {
		case "holds", "":
			return Answer{Holds: true}
		case "shuts":
			return Answer{}
		default:
			return Answer{Unknown: said}
		}
	}
	for line := range strings.Lines(story) {
		if words := strings.Fields(line); len(words) > 0 && words[0] != "#" {
			if words[0] != "cluster" && words[0] != "wait" {
				s.line("> %s", strings.TrimSpace(line))
			}
			s.do(words[0], words[1:])
		}
	}
	return s.log.String()
}

func (s *storyteller) line(format string, args ...any) {
	fmt.Fprintf(&s.log, "%s  %s\n", s.wall.Format("Mon 15:04:05"), fmt.Sprintf(format, args...))
}

func (s *storyteller) do(verb string, args []string) {
	switch verb {
	case "cluster":
		labels := map[string]string{}
		for _, label := range args[1:] {
			key, value, _ := strings.Cut(label, "=")
			labels[key] = value
		}
		s.add(args[0], labels)
	case "release":
		s.pkg.Status.Release = args[0]
		for _, cluster := range args[min(2, len(args)):] {
			s.bad[args[0]+"/"+cluster] = map[string]State{"fails": Failing, "sticks": Unwell}[args[1]]
		}
	case "wait", "clock":
		s.time(verb, args[0])
	case "hub":
		s.stopped = args[0] == "stops"
	case "strategy":
		s.pkg.Spec.Rollout = map[string]*v1alpha1.RolloutStrategy{"again": s.strategy}[args[0]]
	case "gate":
		s.gates[args[0]] = strings.Join(args[1:], " ")
	case "show":
		s.show()
	case "offline", "online", "leaves", "returns", "heals":
		s.member(verb, s.node(args[0]))
	case "blocks", "unblocks":
		s.node(args[0]).blockedBy = strings.Join(args[1:], " ")
	default:
		s.person(verb, args)
	}
}

func (s *storyteller) time(verb, text string) {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	if verb == "clock" {
		s.wall = s.wall.Add(d)
		return
	}
	for until := s.elapsed + d; s.elapsed < until; {
		s.passes(5 * time.Second)
		s.work()
		if !s.stopped {
			s.looks(10)
			s.deliver()
			s.reason()
		}
	}
}

// reason logs why nothing goes on, when that is another reason than before.
func (s *storyteller) reason() {
	r := s.newest()
	if r == nil || len(r.Status.Conditions) == 0 {
		return
	}
	c := r.Status.Conditions[0]
	switch now := r.Name + " " + c.Reason; {
	case now == s.said:
	case c.Reason == v1alpha1.ReasonMoving:
		s.said = now
	default:
		s.said = now
		s.line("%s = %s: %s", r.Name, c.Reason, c.Message)
	}
}

func (s *storyteller) member(verb string, n *node) {
	switch verb {
	case "offline", "online":
		n.online = verb == "online"
	case "leaves", "returns":
		n.selected = verb == "returns"
		if !n.selected {
			n.Holds, n.told, n.State = "", "", Absent
		}
	case "heals":
		s.bad[n.Holds+"/"+string(n.Name)] = Well
	}
}

// person does what `umbel rollout` does.
func (s *storyteller) person(verb string, args []string) {
	spec, status := &s.newest().Spec, &s.newest().Status
	switch verb {
	case "pause":
		spec.Intent = v1alpha1.IntentPause
	case "resume":
		if status.Phase == v1alpha1.RolloutHalted || status.Phase == v1alpha1.RolloutAborted || spec.Purpose == v1alpha1.RolloutBack {
			spec.Attempt++
		}
		spec.Intent = v1alpha1.IntentRun
	case "abort":
		spec.Intent = v1alpha1.IntentAbort
	case "back":
		spec.Intent, spec.BackTo = v1alpha1.IntentBack, strings.Join(args, "")
	case "approve":
		spec.Approvals = append(spec.Approvals, v1alpha1.RolloutApproval{Stage: args[0], Point: v1alpha1.ApprovalPoint(args[1])})
	case "promote":
		spec.Promoted = append(spec.Promoted, args...)
	case "excuse":
		spec.Excused = append(spec.Excused, v1alpha1.ClusterName(args[0]))
	default:
		panic("there is no " + verb + " in a story")
	}
}

// show logs what every cluster holds.
func (s *storyteller) show() {
	holds := map[string][]string{}
	for _, n := range s.nodes {
		what := n.Holds
		switch {
		case !n.selected:
			what = "(not selected)"
		case what == "":
			what = "nothing"
		}
		if n.State != Well && n.selected && n.Holds != "" {
			what += " (not healthy)"
		}
		if !n.online {
			what += " (offline)"
		}
		holds[what] = append(holds[what], string(n.Name))
	}
	for _, what := range slices.Sorted(maps.Keys(holds)) {
		s.line("  %s: %s", what, strings.Join(holds[what], " "))
	}
	if r := s.newest(); r != nil {
		s.line("  %s is %s: %d of %d moved", r.Name, r.Status.Phase, r.Status.Moved, r.Status.Clusters)
		for _, group := range r.Status.Blocked {
			s.line("  %s: %s", some(group.Clusters), group.Message)
		}
	}
}
