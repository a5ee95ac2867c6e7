package drift

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/trail"
)

// How far the time of a request may be from that of what it did. A drift has the time that the member's API server noted, in
// whole seconds, and a deletion that at which the agent noticed it.
const (
	before = 10 * time.Second
	after  = 2 * time.Second
)

// whose finds out, from the hub's audit log, who did what came through the hub, where the clusters' own logs do not say.
func (o *Options) whose(ctx context.Context, hub *client.Hub, all []shown) error {
	query := audit.Query{Verbs: []string{"create", "update", "patch", "delete", "deletecollection"}}
	named := make([]bool, len(all))
	for i := range all {
		if named[i] = all[i].User != "" || all[i].Action == v1alpha1.HistoryPruned; named[i] {
			continue
		}
		if query.Since.IsZero() || all[i].Time.Time.Before(query.Since) {
			query.Since = all[i].Time.Time
		}
		if !slices.Contains(query.Clusters, all[i].Cluster) {
			query.Clusters = append(query.Clusters, all[i].Cluster)
		}
	}
	if len(query.Clusters) == 0 {
		return nil
	}
	query.Since = query.Since.Add(-before)
	body, err := trail.Ask(ctx, o.Factory, hub, query)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("the answer broke off: %w", err)
		}
		if bytes.HasPrefix(line, []byte(`{"kind":"Status"`)) {
			return nil
		}
		var event auditv1.Event
		if err := json.Unmarshal(line, &event); err != nil {
			return fmt.Errorf("reading the audit log: %w", err)
		}
		for i := range all {
			if !named[i] && did(&event, &all[i]) {
				all[i].User = event.User.Username // the latest counts: they come in the order of time
			}
		}
	}
}

// did says whether a request that succeeded is what changed an object.
func did(event *auditv1.Event, d *shown) bool {
	ref := event.ObjectRef
	if ref == nil || ref.Subresource != "" || event.ResponseStatus == nil || event.ResponseStatus.Code >= 300 ||
		event.Annotations[audit.ClusterAnnotation] != string(d.Cluster) || strings.Contains(event.RequestURI, "dryRun=") {
		return false
	}
	if at := event.StageTimestamp.Time; at.Before(d.Time.Add(-before)) || at.After(d.Time.Add(after)) {
		return false
	}
	if (event.Verb == "delete" || event.Verb == "deletecollection") != d.Deleted {
		return false
	}
	kind, where, _ := strings.Cut(d.Object, " ")
	namespace, name, namespaced := strings.Cut(where, "/")
	if !namespaced {
		namespace, name = "", where
	}
	bare, group, _ := strings.Cut(kind, ".")
	plural, singular := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Group: group, Version: "v1", Kind: bare})
	return ref.APIGroup == group && (ref.Resource == plural.Resource || ref.Resource == singular.Resource) && ref.Namespace == namespace &&
		(ref.Name == name || event.Verb == "deletecollection")
}

// by names who changed an object: the manager that the member noted, and the person whom the member or the hub knows; or the release that
// deleted it.
func by(d shown) string {
	switch {
	case d.Action == v1alpha1.HistoryPruned && d.Cause == v1alpha1.DeletionRemoved:
		return "package removed"
	case d.Action == v1alpha1.HistoryPruned:
		return "release " + d.Release
	case d.User == "":
		return d.By
	case d.By == "":
		return d.User
	}
	return d.User + " (" + d.By + ")"
}
