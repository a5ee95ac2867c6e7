package fleet

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
)

// TestAnswersComeInOrderAndNotAllAtOnce asks more clusters than may be asked at a time: each request waits until so many
// are there as there may be.
func TestAnswersComeInOrderAndNotAllAtOnce(t *testing.T) {
	var now, most atomic.Int64
	full := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for {
			seen := most.Load()
			if n <= seen || most.CompareAndSwap(seen, n) {
				break
			}
		}
		if n == inFlight {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		<-full
		http.Error(w, "no", http.StatusForbidden)
	}))
	t.Cleanup(server.Close)
	var members []Member
	var want, got []v1alpha1.ClusterName
	for i := range 2 * inFlight {
		name := v1alpha1.ClusterName(fmt.Sprintf("c-%03d", i))
		want = append(want, name)
		members = append(members, Member{Cluster: name, Config: &rest.Config{Host: server.URL, QPS: -1}})
	}
	query := Query{Kind: "pods", Timeout: time.Minute}
	for said := range Ask(t.Context(), members, func(ctx context.Context, m Member) answer { return ask(ctx, m, query, asTable) }) {
		got = append(got, said.cluster)
		if said.err == nil {
			t.Errorf("%s was read", said.cluster)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if most.Load() != inFlight {
		t.Errorf("%d clusters were asked at a time, want %d", most.Load(), inFlight)
	}
}

// TestAsTheyCome: one cluster that is slow delays no other, and nobody is asked any more once who asks has seen enough.
func TestAsTheyCome(t *testing.T) {
	slow, over := make(chan struct{}), make(chan struct{})
	members := []Member{{Cluster: "slow"}, {Cluster: "quick"}, {Cluster: "never"}}
	ask := func(ctx context.Context, m Member) v1alpha1.ClusterName {
		switch m.Cluster {
		case "slow":
			<-slow
		case "never":
			<-ctx.Done()
			close(over)
		}
		return m.Cluster
	}
	var got []v1alpha1.ClusterName
	for said := range AsTheyCome(t.Context(), members, ask) {
		if got = append(got, said); said == "slow" {
			break
		}
		close(slow)
	}
	<-over
	if diff := cmp.Diff([]v1alpha1.ClusterName{"quick", "slow"}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

// TestTableOfMembers is one table of clusters, of which the last prints the kind with another column.
func TestTableOfMembers(t *testing.T) {
	page := func(columns, rows string) []byte {
		return fmt.Appendf(nil, `{"kind":"Table","columnDefinitions":[{"name":"Name"},{"name":"Count"}%s],"rows":[%s]}`, columns, rows)
	}
	row := func(namespace, name, more string) string {
		return fmt.Sprintf(`{"cells":[%q,1234567%s],"object":{"metadata":{"namespace":%q,"name":%q}}}`, name, more, namespace, name)
	}
	said := []answer{
		{cluster: "a", namespaced: true, pages: [][]byte{page("", row("x", "one", "")), page("", row("b", "two", ""))}},
		{cluster: "b", namespaced: true, pages: [][]byte{page(`,{"name":"Node","priority":1}`, row("x", "one", `,"n1"`))}},
		{cluster: "c", namespaced: true, pages: [][]byte{page(`,{"name":"New"}`, row("x", "one", `,null`))}},
	}
	for format, want := range map[output.Format]string{
		output.Human: "" +
			"CLUSTER   NAMESPACE   NAME   COUNT\n" +
			"a         b           two    1234567\n" +
			"a         x           one    1234567\n" +
			"b         x           one    1234567\n" +
			"CLUSTER   NAMESPACE   NAME   COUNT     NEW\n" +
			"c         x           one    1234567   -\n",
		output.Wide: "" +
			"CLUSTER   NAMESPACE   NAME   COUNT\n" +
			"a         b           two    1234567\n" +
			"a         x           one    1234567\n" +
			"CLUSTER   NAMESPACE   NAME   COUNT     NODE\n" +
			"b         x           one    1234567   n1\n" +
			"CLUSTER   NAMESPACE   NAME   COUNT     NEW\n" +
			"c         x           one    1234567   -\n",
	} {
		var out bytes.Buffer
		shown := newShown(Query{Kind: "things"}, Writer{Streams: output.Streams{Out: &out, Err: &out}, Format: format})
		for _, answer := range said {
			if err := shown.add(answer); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("-o %q (-want +got):\n%s", format, diff)
		}
	}
}

func TestAnAnswerThatIsNoTable(t *testing.T) {
	shown := newShown(Query{}, Writer{})
	err := shown.add(answer{cluster: "a", pages: [][]byte{[]byte(`{"kind":"ThingList"}`)}})
	if want := `its answer cannot be written: it does not print this kind (it sent a ThingList): ask for -o yaml`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
