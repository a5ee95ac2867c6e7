package witness

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// at is so many milliseconds from noon.
func at(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }

var web = Place{Group: "apps", Resource: "deployments", Namespace: "shop", Name: "web"}

func deletion(user string, uid types.UID, ms int) deed {
	return deed{place: web, user: user, manager: "kubectl", deleted: true, uid: uid, received: at(ms)}
}

func change(user, manager string, ms int) deed {
	return deed{place: web, user: user, manager: manager, received: at(ms)}
}

// several is a deletion of all in a namespace that have some labels.
func several(user, namespace, labels string, ms int) deed {
	return deed{place: Place{Group: "apps", Resource: "deployments", Namespace: namespace}, labels: labels, user: user, deleted: true, received: at(ms)}
}

func TestWho(t *testing.T) {
	deleted := Question{Place: web, Deleted: true, UID: "1", Labels: map[string]string{"app": "web"}, Noticed: at(0)}
	since := func(q Question, ms int) Question { q.Since = at(ms); return q }
	changed := Question{Place: web, Noticed: at(0)}
	by := func(q Question, manager string) Question { q.Manager = manager; return q }
	elsewhere := deletion("bob", "", -5)
	elsewhere.place.Namespace = "bank"
	for _, c := range []struct {
		reason string
		q      Question
		deeds  []deed
		want   string // empty for nobody
	}{
		{"nothing is known", deleted, nil, ""},
		{"by the uid, whenever it was", since(deleted, -1), []deed{deletion("ada", "1", -50000), deletion("bob", "2", -3)}, "ada"},
		{"another object of that name", deleted, []deed{deletion("bob", "2", -3)}, ""},
		{"by its name, where the API server notes no uid", deleted, []deed{deletion("ada", "", -3), elsewhere}, "ada"},
		{"a finalizer took its time", deleted, []deed{deletion("ada", "", -30000)}, "ada"},
		{"longer than anything is kept", deleted, []deed{deletion("ada", "", -61000)}, ""},
		{"two asked for it", deleted, []deed{deletion("ada", "", -4), deletion("bob", "", -3)}, ""},
		{"one asked twice", deleted, []deed{deletion("ada", "", -4), deletion("ada", "", -3)}, "ada"},
		{"it was seen after the first was at work", since(deleted, -10), []deed{deletion("ada", "", -20), deletion("bob", "", -3)}, "bob"},
		{"after it was noticed", deleted, []deed{deletion("bob", "", 1)}, ""},
		{"all of a namespace", deleted, []deed{several("ada", "shop", "", -3)}, "ada"},
		{"all of the cluster", deleted, []deed{several("ada", "", "app=web", -3)}, "ada"},
		{"those of another namespace", deleted, []deed{several("bob", "bank", "", -3)}, ""},
		{"those with other labels", deleted, []deed{several("bob", "shop", "app!=web", -3)}, ""},
		{"a selector that cannot be read", deleted, []deed{several("bob", "shop", "app=(", -3)}, ""},
		{"who took the label off by which it is watched", deleted, []deed{change("ada", "kubectl-label", -3)}, "ada"},
		{"who changed it before somebody deleted it", deleted, []deed{change("bob", "kubectl-edit", -300), deletion("ada", "1", -3)}, "ada"},
		{"who has the field now", by(changed, "kubectl-edit"), []deed{change("ada", "kubectl-edit", -3), change("bob", "autoscaler", -2)}, "ada"},
		{"who has another field now", by(changed, "kubectl-edit"), []deed{change("bob", "autoscaler", -2)}, ""},
		{"who took a field away", changed, []deed{change("ada", "kubectl-edit", -3)}, "ada"},
		{"one of two took it away", changed, []deed{change("ada", "kubectl-edit", -3), change("bob", "autoscaler", -2)}, ""},
		{"who changed it before it was seen well", since(changed, -5), []deed{change("bob", "kubectl-edit", -6)}, ""},
		{"long ago", changed, []deed{change("bob", "kubectl-edit", -10001)}, ""},
		{"a deletion changes nothing", changed, []deed{deletion("bob", "1", -3)}, ""},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got, ok := who(c.q, c.deeds)
			if got.User != c.want || ok != (c.want != "") {
				t.Errorf("got %+v (%t), want %q", got, ok, c.want)
			}
		})
	}
	got, _ := who(changed, []deed{change("ada", "first", -4), change("ada", "last", -3)})
	if diff := cmp.Diff(Answer{User: "ada", Manager: "last"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
