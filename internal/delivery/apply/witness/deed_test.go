package witness

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const self = "system:serviceaccount:umbel-agent:umbel-agent"

// line is one that an API server wrote of a deletion, with changes.
func line(changes ...string) string {
	text := `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseComplete","requestURI":"/apis/apps/v1/namespaces/shop/deployments/web","verb":"delete",` +
		`"user":{"username":"ada","groups":["system:authenticated"]},"sourceIPs":["127.0.0.1"],"userAgent":"kubectl/v1.36.3 (linux/amd64)",` +
		`"objectRef":{"resource":"deployments","namespace":"shop","name":"web","apiGroup":"apps","apiVersion":"v1"},` +
		`"responseStatus":{"metadata":{},"status":"Success","details":{"name":"web","group":"apps","kind":"deployments","uid":"1"},"code":200},` +
		`"requestReceivedTimestamp":"2026-11-28T12:00:00.000000Z","stageTimestamp":"2026-11-28T12:00:00.002000Z"}`
	return strings.NewReplacer(changes...).Replace(text)
}

func TestReadsDeeds(t *testing.T) {
	ada := deletion("ada", "1", 0)
	changed := change("ada", "kubectl", 0)
	named := change("ada", "kubectl-edit", 0)
	all := several("ada", "shop", "app=web", 0)
	all.manager = "kubectl"
	as := ada
	as.user = "grace"
	const impersonating = `"user":{"username":"` + self + `"},"impersonatedUser":{"username":"grace"}`
	const user = `"user":{"username":"ada","groups":["system:authenticated"]}`
	for _, c := range []struct {
		reason, line string
		want         *deed
	}{
		{"a deletion", line(), &ada},
		{"a change by a program", line(`"verb":"delete"`, `"verb":"patch"`, `,"details":{"name":"web","group":"apps","kind":"deployments","uid":"1"}`, ""), &changed},
		{"a change by a field manager", line(`"verb":"delete"`, `"verb":"update"`, `,"details":{"name":"web","group":"apps","kind":"deployments","uid":"1"}`, "", "deployments/web\"", "deployments/web?fieldManager=kubectl-edit\""), &named},
		{"kubectl scale", line(`"verb":"delete"`, `"verb":"patch"`, `,"details":{"name":"web","group":"apps","kind":"deployments","uid":"1"}`, "", `"apiVersion":"v1"}`, `"apiVersion":"v1","subresource":"scale"}`), &changed},
		{"many at once", line(`"verb":"delete"`, `"verb":"deletecollection"`, "deployments/web", "deployments?labelSelector=app%3Dweb", `"name":"web","apiGroup"`, `"apiGroup"`), &all},
		{"many at once, of which nobody knows which", line(`"verb":"delete"`, `"verb":"deletecollection"`, "deployments/web", "deployments?fieldSelector=metadata.name%3Dweb"), nil},
		{"somebody who comes through the hub", line(user, impersonating), &as},
		{"the agent", line(user, `"user":{"username":"`+self+`"}`), nil},
		{"the agent for a team", line(user, impersonating, `"verb":"delete"`, `"verb":"patch"`, "deployments/web\"", "deployments/web?fieldManager=umbel-agent\""), nil},
		{"somebody who calls their program as the agent is called", line(`"userAgent":"kubectl`, `"userAgent":"\"username\":\"`+self+`\"`), func() *deed {
			d := ada
			d.manager = `"username":"` + self + `"`
			return &d
		}()},
		{"a read", line(`"verb":"delete"`, `"verb":"get"`), nil},
		{"a read that says that it is a deletion", line(`"verb":"delete"`, `"verb":"get"`, "kubectl/v1.36.3", `\"verb\":\"delete\"`), nil},
		{"a status", line(`"verb":"delete"`, `"verb":"patch"`, `"apiVersion":"v1"}`, `"apiVersion":"v1","subresource":"status"}`), nil},
		{"one that was refused", line(`"code":200`, `"code":403`), nil},
		{"one that was only tried", line("deployments/web\"", "deployments/web?dryRun=All\""), nil},
		{"one that has just come", line("ResponseComplete", "RequestReceived"), nil},
		{"nobody", line(`"username":"ada"`, `"username":""`), nil},
		{"a name that would paint a terminal", line(`"username":"ada"`, `"username":"a\u001b[31mda"`), nil},
		{"a name without an end", line(`"username":"ada"`, `"username":"`+strings.Repeat("a", maxName+1)+`"`), nil},
		{"another time", line("2026-11-28T12", "noon"), nil},
		{"no time", line(`"requestReceivedTimestamp"`, `"other"`), nil},
		{"a path that is none", line("/apis/", `%zz/\u0000`), nil},
		{"no object", line(`"objectRef"`, `"other"`), nil},
		{"cut off", line()[:300], nil},
		{"two in one", line() + line(), nil},
		{"something else", `["verb":"delete"]`, nil},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got, ok := newReader(self, "umbel-agent").read([]byte(c.line))
			if ok != (c.want != nil) {
				t.Fatalf("got %+v (%t)", got, ok)
			}
			if ok && !cmp.Equal(*c.want, got, cmp.AllowUnexported(deed{})) {
				t.Errorf("(-want +got):\n%s", cmp.Diff(*c.want, got, cmp.AllowUnexported(deed{})))
			}
		})
	}
}

// FuzzLog: whatever is in a log, and however it is cut when it is read, what is taken out of it is bounded and printable, and nothing
// keeps the line after from being read.
func FuzzLog(f *testing.F) {
	f.Add([]byte(line()), 7)
	f.Add([]byte(line()[:200]+"\n"+line()), 300)
	f.Add([]byte("\n\n\x00{\"verb\":\"delete\""), 1)
	f.Fuzz(func(t *testing.T, content []byte, cut int) {
		log, r := &follower{}, newReader(self, "umbel-agent")
		var users []string
		take := func(line []byte) {
			if len(line) > maxLine || bytes.ContainsRune(line, '\n') {
				t.Fatalf("a line of %d bytes", len(line))
			}
			if d, ok := r.read(line); ok {
				if !d.fits() {
					t.Fatalf("got %+v", d)
				}
				users = append(users, d.user)
			}
		}
		for part := range slices.Chunk([]byte(string(content)+"\n"+line()+"\n"), 1+int(uint(cut)%1000)) {
			log.split(part, take)
		}
		if len(users) == 0 || users[len(users)-1] != "ada" {
			t.Fatalf("the line after was not read: %q", users)
		}
	})
}
