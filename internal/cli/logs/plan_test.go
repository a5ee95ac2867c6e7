package logs

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/fleet"
	"umbel.dev/umbel/internal/cli/output"
)

// TestTame: a terminal is given text and colours; what would do anything else there is shown as a question mark.
func TestTame(t *testing.T) {
	for _, c := range []struct{ reason, text, want string }{
		{"text", "GET /\ta 200 – ok", "GET /\ta 200 – ok"},
		{"colours, which end with the line", "\x1b[31mred\x1b[0m and \x1b[1;32mgreen", "\x1b[31mred\x1b[0m and \x1b[1;32mgreen\x1b[0m"},
		{"the name of the window", "\x1b]0;owned\x07x", "?]0;owned?x\x1b[0m"},
		{"the cursor", "a\x1b[2J\x1b[H\rb", "a?[2J?[H?b\x1b[0m"},
		{"a sequence of one byte in another form", "a\u009b2Jb", "a?2Jb\x1b[0m"},
	} {
		if got := tame(c.text); got != c.want {
			t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	for args, want := range map[string]target{
		"web-1": {kind: "pod", name: "web-1"}, "po/web-1": {kind: "pod", name: "web-1"}, "deploy/web": {kind: "deployment", name: "web"},
		"deployments.apps/web": {kind: "deployment", name: "web"}, "sts db": {kind: "statefulset", name: "db"}, "svc/web": {kind: "service", name: "web"},
	} {
		got, err := parse(strings.Fields(args), "")
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", args, got, err)
		}
	}
	for _, args := range []string{"", "secret/x", "deploy/", "deploy/a/b", "a b c"} {
		if got, err := parse(strings.Fields(args), ""); err == nil {
			t.Errorf("%q is %+v", args, got)
		}
	}
	if _, err := parse([]string{"web"}, "app=web"); err == nil {
		t.Error("a name and a selector are taken together")
	}
}

func TestOrder(t *testing.T) {
	a, b := &container{cluster: "a"}, &container{cluster: "b"}
	lines := []line{
		read(a, "2026-11-22T12:00:01Z a1"), read(a, "2026-11-22T12:00:03Z a2"), read(a, "2026-11-22T12:00:03Z a3"),
		read(b, "2026-11-22T12:00:02.123456789Z b1"), read(b, "2026-11-22T12:00:03Z b2"), read(b, "unable to retrieve logs"),
	}
	order(lines)
	var got []string
	for _, l := range lines {
		got = append(got, l.text)
	}
	if diff := cmp.Diff([]string{"unable to retrieve logs", "a1", "b1", "a2", "a3", "b2"}, got); diff != "" {
		t.Error(diff)
	}
	if l := read(a, "2026-11-22T12:00:01.5Z "); l.text != "" || !l.at.Equal(time.Date(2026, 11, 22, 12, 0, 1, 5e8, time.UTC)) {
		t.Errorf("an empty line: %+v", l)
	}
}

func TestWanted(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}, Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "init"}}, Containers: []corev1.Container{{Name: "proxy"}, {Name: "web"}},
	}}
	names := func(name string, every bool) (found []string) {
		for _, c := range wanted("c", pod, name, every) {
			found = append(found, c.name)
		}
		return found
	}
	if diff := cmp.Diff([][]string{{"proxy"}, {"web"}, {"init", "proxy", "web"}, nil}, [][]string{names("", false), names("web", false), names("", true), names("nope", false)}); diff != "" {
		t.Error(diff)
	}
	pod.Annotations = map[string]string{defaultContainer: "web"}
	if got := names("", false); len(got) != 1 || got[0] != "web" {
		t.Errorf("the main container is %q", got)
	}
}

// TestColours: on a terminal each cluster has a colour of its own, which none of its lines loses; after as many as there are, they begin again.
func TestColours(t *testing.T) {
	var members []fleet.Member
	for i := range len(colours) + 1 {
		members = append(members, fleet.Member{Cluster: v1alpha1.ClusterName(rune('a' + i))})
	}
	var out strings.Builder
	w := newWriter(&Options{Factory: &client.Factory{Streams: output.Streams{Out: &out}}}, members)
	write := func(cluster v1alpha1.ClusterName, text string) string {
		t.Helper()
		out.Reset()
		l := read(&container{cluster: cluster, namespace: "n", pod: "p", alone: true}, "2026-11-22T12:00:01Z "+text)
		if err := w.write(&l); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := write("a", "one"); got != "a n/p one\n" {
		t.Errorf("to a program it writes %q", got)
	}
	w.coloured, w.terminal = true, true
	got := []string{write("a", "one"), write("b", "two"), write("a", "three")}
	if diff := cmp.Diff([]string{"\x1b[36ma n/p\x1b[0m one\n", "\x1b[33mb n/p\x1b[0m two\n", "\x1b[36ma n/p\x1b[0m three\n"}, got); diff != "" {
		t.Error(diff)
	}
	seen := map[string]v1alpha1.ClusterName{}
	for _, m := range members {
		colour, _, _ := strings.Cut(write(m.Cluster, ""), "m"+string(m.Cluster)+" ")
		if other, had := seen[colour]; had != (m.Cluster == members[len(colours)].Cluster) {
			t.Errorf("cluster %q has colour %q, and %q has had it", m.Cluster, colour, other)
		}
		if colour == "\x1b[31" {
			t.Errorf("cluster %q is red, as what is wrong", m.Cluster)
		}
		seen[colour] = m.Cluster
	}
}
