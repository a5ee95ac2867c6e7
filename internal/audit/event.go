package audit

import (
	"bytes"
	"encoding/json"
	"net"
	"time"

	"github.com/google/uuid"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// HubUser is the user of what the hub does by itself.
const HubUser = "umbel:hub"

// Annotations of events.
const (
	// ClusterAnnotation names the member that an event is about.
	ClusterAnnotation = v1alpha1.ClusterAnnotation
	// MemberUserAnnotation is by which name the member knows the user, where that is another one.
	MemberUserAnnotation = "umbel.dev/member-user"
	// RefusedAnnotation says why the hub refused.
	RefusedAnnotation = "umbel.dev/refused"
	// EndedAnnotation says why an answer ended before its time.
	EndedAnnotation = "umbel.dev/ended"
	// OmittedAnnotation is how many events were left out before this one: about strangers, or that tell the same of the same member.
	OmittedAnnotation = "umbel.dev/omitted"
	// LostAnnotation is how many events could not be written, for want of a disk that takes them, before this one.
	LostAnnotation = "umbel.dev/lost"
	// decisionAnnotation is what Kubernetes calls the decision of an authorizer: allow or forbid.
	decisionAnnotation = "authorization.k8s.io/decision"
)

// newEvent begins an event.
func newEvent(now time.Time) *auditv1.Event {
	at := metav1.NewMicroTime(now)
	return &auditv1.Event{
		TypeMeta: metav1.TypeMeta{Kind: "Event", APIVersion: auditv1.SchemeGroupVersion.String()},
		Level:    auditv1.LevelMetadata, AuditID: types.UID(uuid.NewString()), Stage: auditv1.StageResponseComplete,
		RequestReceivedTimestamp: at, StageTimestamp: at, Annotations: map[string]string{},
	}
}

// Deed is something that the hub did by itself, other than to its own API.
type Deed struct {
	// Verb says what: issue, refuse, hold, remove, detach.
	Verb string
	// Cluster is the member that it was done to; empty when none is known.
	Cluster v1alpha1.ClusterName
	// Object is what it was about; by default the MemberCluster.
	Object *auditv1.ObjectReference
	// Peer is who caused it, as HOST:PORT; empty when nobody did.
	Peer string
	// Refused is why the hub did not do what it was asked for.
	Refused string
	// Details are further annotations. Their keys begin with umbel.dev/.
	Details map[string]string
}

// Did records a deed of the hub.
func (l *Log) Did(deed Deed) {
	if l == nil {
		return
	}
	event := newEvent(l.config.Now())
	event.User = hubUser()
	event.Verb = deed.Verb
	event.ObjectRef = deed.Object
	if deed.Object == nil {
		event.ObjectRef = member(deed.Cluster)
	}
	if host, _, err := net.SplitHostPort(deed.Peer); err == nil {
		event.SourceIPs = []string{host}
	}
	for key, value := range deed.Details {
		event.Annotations[key] = value
	}
	event.ResponseStatus = &metav1.Status{Status: metav1.StatusSuccess, Code: 200}
	if deed.Cluster != "" {
		event.Annotations[ClusterAnnotation] = string(deed.Cluster)
	}
	if deed.Refused != "" {
		event.Annotations[RefusedAnnotation] = deed.Refused
		event.ResponseStatus = &metav1.Status{Status: metav1.StatusFailure, Code: 403, Message: deed.Refused}
		l.recordStranger(event)
		return
	}
	l.Record(event)
}

func member(cluster v1alpha1.ClusterName) *auditv1.ObjectReference {
	return &auditv1.ObjectReference{
		APIGroup: v1alpha1.GroupVersion.Group, APIVersion: v1alpha1.GroupVersion.Version, Resource: "memberclusters", Name: string(cluster),
	}
}

func hubUser() authenticationv1.UserInfo { return authenticationv1.UserInfo{Username: HubUser} }

// encode writes an event as one line.
func encode(event *auditv1.Event) []byte {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(event); err != nil {
		return nil // strings, numbers and times: there is nothing in it that cannot be written
	}
	return line.Bytes()
}
