package console

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/cli/trail"
)

const (
	// whoFor is how long the audit log may take to say who changed something.
	whoFor = 3 * time.Second
	// whoBefore is how far the time of a request may be before that of what it did, which has whole seconds.
	whoBefore = 2 * time.Second
)

// whoChanged puts the person who changed an object last in the place of their program, where the audit log has them and whoever asks may read it. The
// object was as it was begun with at a time.
func (c *Console) whoChanged(r *http.Request, s *session, p *papers, m *Meanwhile, since time.Time) {
	if m.Time != nil {
		since = m.Time.Time
	}
	if since.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), whoFor)
	defer cancel()
	desk := c.desk(r, s, p.key.Namespace)
	hub, err := desk.Connect()
	if err != nil {
		return
	}
	body, err := trail.Ask(ctx, desk, hub, audit.Query{Verbs: []string{"create", "update", "patch"}, Since: since.Add(-whoBefore)})
	if err != nil {
		return
	}
	defer body.Close() //nolint:errcheck // it was read
	program := ""
	if m.Time != nil {
		program = ", with " + m.Who
	}
	for lines := bufio.NewReader(body); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var event auditv1.Event
		if json.Unmarshal(line, &event) == nil && p.changedBy(&event) {
			m.Who, m.Time = event.User.Username+program, &metav1.Time{Time: event.StageTimestamp.Time} // the latest counts: they come in the order of time
		}
	}
}

// changedBy says whether an event is a change of what this is about. One of a MemberCluster names that member, as those of objects in a member do.
func (p *papers) changedBy(event *auditv1.Event) bool {
	ref := event.ObjectRef
	if ref == nil || ref.APIGroup != p.of.kind.Group || ref.Resource != p.of.resource || ref.Namespace != p.key.Namespace || ref.Name != p.key.Name || ref.Subresource != "" {
		return false
	}
	about := event.Annotations[audit.ClusterAnnotation]
	here := about == "" || about == ref.Name && ref.APIGroup == v1alpha1.GroupVersion.Group && ref.Resource == "memberclusters" && !strings.HasPrefix(event.RequestURI, "/clusters/")
	return here && event.ResponseStatus != nil && event.ResponseStatus.Code < 300 && !strings.Contains(event.RequestURI, "dryRun=")
}
