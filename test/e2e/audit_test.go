//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/hub"
)

const (
	adaOnHub    = "system:serviceaccount:default:ada"
	adaOnMember = "hub:" + adaOnHub
)

// isAudited: what Ada has done is in the hub's audit log and in the cluster's own, under the same audit IDs and her name.
func (a *ada) isAudited(s *story) {
	a = &ada{story: s, dir: a.dir}
	// A client may send an audit ID; it is not what the request gets.
	if _, err := a.program("prod-eu", "Audit-ID").CoreV1().ConfigMaps("people").Get(s.ctx, "words", metav1.GetOptions{}); err != nil {
		s.Fatal(err)
	}
	onHub := a.events(s.umbel("audit", "--user", adaOnHub, "--cluster", "prod-eu", "--since", "1h", "-o", "json"))
	onMember := s.impersonated("prod-eu")
	if _, forged := onMember["system:admin"]; forged {
		s.Error("the cluster took the audit ID that the client made up")
	}
	const switched = http.StatusSwitchingProtocols
	for _, want := range []struct {
		verb, object string
		code         int32
	}{
		{"get", "configmaps/words", 200}, {"delete", "pods/shell", 200}, {"get", "pods/log/shell", 200}, {"watch", "configmaps/words", 200},
		// kubectl asks for WebSockets by GET, and falls back to SPDY, by POST, where there are none.
		{"get", "pods/exec/shell", switched}, {"get", "pods/attach/shell", switched}, {"get", "pods/portforward/shell", switched},
		{"create", "pods/exec/shell", switched}, {"create", "pods/portforward/shell", switched},
	} {
		found := 0
		for _, e := range onHub {
			there, linked := onMember[string(e.AuditID)]
			if e.Stage == auditv1.StageRequestReceived || !is(e, want.verb, want.object) || !linked || e.ResponseStatus.Code != want.code {
				continue
			}
			found++
			if there.ImpersonatedUser.Username != adaOnMember || !is(there, e.Verb, want.object) {
				s.Errorf("%s %s: the hub has %+v, the cluster %+v", want.verb, want.object, e, there)
			}
		}
		if found == 0 {
			s.Errorf("%s %s, answered with %d, is not in both logs", want.verb, want.object, want.code)
		}
	}
	refused := s.umbel("audit", "--user", adaOnHub, "--cluster", "prod-us", "--since", "1h", "-o", "wide")
	if !strings.Contains(refused, "403") || !strings.Contains(refused, `may not reach cluster "prod-us"`) {
		s.Errorf("of what the hub refused the log says:\n%s", refused)
	}
	s.refused([]string{"audit", "--cluster", "prod-eu", "--kubeconfig", filepath.Join(a.dir, "hub")}, `may not see the audit log of cluster "prod-eu"`)
	if own := s.umbel("audit", "--user", "umbel:hub", "--cluster", "prod-eu", "--verb", "hold,issue", "--since", "1h", "-o", "wide"); !strings.Contains(own, "default/shop") || !strings.Contains(own, "digest=sha256:") || !strings.Contains(own, "issue") {
		s.Errorf("of what the hub did the log says:\n%s", own)
	}
	s.pastTheDoor()
	a.runbook("../../docs/operate/audit.md")
}

// pastTheDoor: what is done with the hub's own kubeconfig goes to its API past the gateway, and is in the log all the same, once;
// what the hub does there, by itself and for people, is not there a second time.
func (s *story) pastTheDoor() {
	s.Helper()
	s.umbel("label", "cluster", "dev", "audited=yes")
	var found []auditv1.Event
	s.eventually("umbel audit shows what the hub's own kubeconfig did", func(context.Context) error {
		found = slices.DeleteFunc(s.events(s.umbel("audit", "--cluster", "dev", "--user", "admin", "--verb", "patch", "--since", "10m", "-o", "json")), func(e auditv1.Event) bool {
			return e.ResponseStatus.Code == http.StatusConflict // the hub has written dev meanwhile, and it was asked again
		})
		if len(found) == 0 {
			return errors.New("it does not")
		}
		return nil
	})
	if e := found[0]; len(found) != 1 || objectOf(e) != "memberclusters/dev" || e.ResponseStatus.Code != 200 {
		s.Errorf("of one label it says %+v", found)
	}
	raw, err := os.ReadFile(hub.APIAuditLog(s.Home))
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range s.events(whole(raw)) {
		if e.User.Username == audit.HubUser || e.ImpersonatedUser != nil {
			s.Errorf("the API server has what the hub itself writes down: %+v", e)
		}
	}
}

// impersonated is what a local cluster's own audit log says that others did as people, by audit ID.
func (s *story) impersonated(cluster string) map[string]auditv1.Event {
	s.Helper()
	raw, err := os.ReadFile(filepath.Join(s.Home, "local", cluster, "audit", cluster+"-0", "audit.log"))
	if err != nil {
		s.Fatal(err)
	}
	all := map[string]auditv1.Event{}
	for _, e := range s.events(whole(raw)) {
		if e.ImpersonatedUser != nil {
			all[string(e.AuditID)] = e
		}
	}
	return all
}

// is says whether an event is of RESOURCE[/SUBRESOURCE]/NAME, and of the verb unless that is empty.
func is(e auditv1.Event, verb, object string) bool {
	return objectOf(e) == object && (verb == "" || e.Verb == verb)
}

// objectOf is what an event is about, as RESOURCE[/SUBRESOURCE]/NAME.
func objectOf(e auditv1.Event) string {
	if e.ObjectRef == nil {
		return ""
	}
	has := e.ObjectRef.Resource
	if e.ObjectRef.Subresource != "" {
		has += "/" + e.ObjectRef.Subresource
	}
	return has + "/" + e.ObjectRef.Name
}

// whole is what a log has in whole lines: another one may be on its way.
func whole(log []byte) string { return string(log[:bytes.LastIndexByte(log, '\n')+1]) }

func (s *story) events(lines string) (all []auditv1.Event) {
	s.Helper()
	for line := range bytes.Lines([]byte(lines)) {
		var e auditv1.Event
		if err := json.Unmarshal(line, &e); err != nil {
			s.Fatalf("%s: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// runbook runs the lines of a runbook's code that begin with `umbel audit` and end, as an administrator.
func (a *ada) runbook(path string) {
	a.Helper()
	text, err := os.Open(path)
	if err != nil {
		a.Fatal(err)
	}
	defer text.Close()
	ran := 0
	for lines := bufio.NewScanner(text); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "  #")
		if strings.HasPrefix(line, "umbel audit") && !strings.Contains(line, "--follow") {
			a.shell(line)
			ran++
		}
	}
	if ran < 4 {
		a.Errorf("%s has %d commands", path, ran)
	}
}
