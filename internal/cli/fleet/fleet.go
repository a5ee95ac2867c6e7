package fleet

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/route"
	"umbel.dev/umbel/internal/cli/view"
)

// inFlight is how many clusters are asked at a time. It bounds what one command costs the hub.
const inFlight = 32

// Query is what is asked of the members.
type Query struct {
	// Kind is a word for a kind, as kubectl takes it: pods, po, deployments.apps.
	Kind string
	// Names are the objects asked for. None means all.
	Names []string
	// Namespace is what they are in; empty means every namespace.
	Namespace string
	// Labels and Fields restrict them.
	Labels, Fields string
	// Timeout is how long a cluster may take to answer.
	Timeout time.Duration
	// Late is what to do about a cluster that did not answer by then, as whoever asks can.
	Late string
	// Most is how many objects are read of a cluster, where not all are.
	Most int
}

// Parse makes a query of the arguments KIND NAME… or KIND/NAME.
func (q *Query) Parse(args []string) error {
	if len(args) == 0 {
		return exit.Usagef("say which kind, as kubectl knows it: pods, deployments.apps")
	}
	word, name, slashed := strings.Cut(args[0], "/")
	q.Kind, q.Names = word, args[1:]
	if slashed {
		q.Names = append([]string{name}, q.Names...)
	}
	switch {
	case word == "all" || strings.Contains(word, ","):
		return exit.Usagef("%q is several kinds: ask for one at a time", word)
	case strings.Contains(strings.Join(q.Names, ""), "/"):
		return exit.Usagef("name several objects as KIND NAME NAME...")
	case len(q.Names) > 0 && q.Labels+q.Fields != "":
		return exit.Usagef("give names or a selector, not both")
	case len(q.Names) > 0 && q.Namespace == "":
		return exit.Usagef("an object is named within one namespace: give it with -n instead of -A")
	case q.Timeout <= 0:
		return exit.Usagef("--timeout has to be more than nothing")
	}
	if _, err := fields.ParseSelector(q.Fields); err != nil {
		return exit.Usagef("the field selector %q cannot be read: %w", q.Fields, err)
	}
	return nil
}

// Writer is how what was found is written.
type Writer struct {
	output.Streams
	// Format is asked for with -o.
	Format output.Format
	// NoHeaders leaves the headers of tables out.
	NoHeaders bool
}

// Reader reads from the members of a hub.
type Reader struct {
	*client.Factory
	Hub *client.Hub
	// Clusters says by their labels which members are asked.
	Clusters labels.Selector
}

// Read asks the members and writes what they answer. Its error says how many could not be read.
func (r *Reader) Read(ctx context.Context, query Query, to Writer) error {
	members, err := r.members(ctx)
	if err != nil {
		return err
	}
	if len(members) == 0 {
		none, err := r.Hub.NoneMatch(ctx, r.Clusters.String())
		if err != nil {
			return err
		}
		to.Note("%s", none)
		return nil
	}
	shown := newShown(query, to)
	failed := 0
	for answer := range Ask(ctx, members, func(ctx context.Context, m Member) answer { return ask(ctx, m, query, shown.accept()) }) {
		if err := errors.Join(answer.err, shown.add(answer)); err != nil {
			failed++
			to.Note("cluster %q: %s", answer.cluster, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := shown.end(failed); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %s could not be read whole: this is not all that there is", failed, v1alpha1.Counted(len(members), "cluster"))
	}
	return nil
}

// Member is one of those to ask.
type Member struct {
	Cluster v1alpha1.ClusterName
	// Config is the way to its API server, through the hub, as whoever runs the command.
	Config *rest.Config
	// Gone says why there is nobody to ask.
	Gone error
}

// members returns those that are asked for, sorted by name.
func (r *Reader) members(ctx context.Context) ([]Member, error) {
	var list v1alpha1.MemberClusterList
	if err := r.Hub.ListClusters(ctx, &list, r.Clusters); err != nil {
		return nil, err
	}
	return Members(ctx, r.Factory, r.Hub, list.Items)
}

// Members returns the ways to members, in their order.
func Members(ctx context.Context, f *client.Factory, hub *client.Hub, clusters []v1alpha1.MemberCluster) ([]Member, error) {
	if len(clusters) == 0 {
		return nil, nil
	}
	to, err := f.Ways(ctx, hub)
	if err != nil {
		return nil, err
	}
	moment := view.Moment{Now: f.Now(), Pulse: hub.Pulse(ctx)}
	var members []Member
	for i := range clusters {
		m := Member{Cluster: v1alpha1.ClusterName(clusters[i].Name), Gone: route.Open(moment, &clusters[i])}
		if m.Config, err = to(m.Cluster); err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	return members, nil
}

// Ask asks members side by side, at most inFlight of them at a time, and yields their answers in the order of the members.
func Ask[T any](ctx context.Context, members []Member, ask func(context.Context, Member) T) iter.Seq[T] {
	return func(yield func(T) bool) {
		came := make([]chan T, len(members))
		for i := range came {
			came[i] = make(chan T, 1)
		}
		defer asking(ctx, members, ask, func(i int, said T) { came[i] <- said })()
		for i := range came {
			if !yield(<-came[i]) {
				return
			}
		}
	}
}

// AsTheyCome is Ask that yields each answer when it is there.
func AsTheyCome[T any](ctx context.Context, members []Member, ask func(context.Context, Member) T) iter.Seq[T] {
	return func(yield func(T) bool) {
		came := make(chan T, len(members))
		defer asking(ctx, members, ask, func(_ int, said T) { came <- said })()
		for range members {
			if !yield(<-came) {
				return
			}
		}
	}
}

// asking asks members side by side and hands on what each says, without waiting; end ends it.
func asking[T any](ctx context.Context, members []Member, ask func(context.Context, Member) T, came func(i int, said T)) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var group errgroup.Group
	group.SetLimit(inFlight)
	begun := make(chan struct{})
	go func() {
		defer close(begun)
		for i, m := range members {
			group.Go(func() error {
				came(i, ask(ctx, m))
				return nil
			})
		}
	}()
	return func() { cancel(); <-begun; _ = group.Wait() }
}
