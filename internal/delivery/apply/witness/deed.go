package witness

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/types"
)

// Place is an object as an API server's paths name it.
type Place struct {
	// Group of the API; empty for the one that has no name.
	Group string
	// Resource is the plural of the kind, such as configmaps.
	Resource string
	// Namespace is empty for an object without one.
	Namespace string
	Name      string
}

// deed is a request that changed or deleted an object, or several of a kind.
type deed struct {
	place Place // Name is empty for several
	// labels restricts several to those that have them, as the request says it.
	labels string
	user   string
	// manager is under which name the fields are owned that it set.
	manager string
	deleted bool
	// uid is that of what was deleted; empty where the API server did not note it.
	uid      types.UID
	received time.Time
}

// maxName is how long a name in a line may be.
const maxName = 256

// event is what is read of an Event of audit.k8s.io/v1.
type event struct {
	Stage      string `json:"stage"`
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	UserAgent  string `json:"userAgent"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	ImpersonatedUser *struct {
		Username string `json:"username"`
	} `json:"impersonatedUser"`
	ObjectRef *struct {
		Resource    string `json:"resource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		APIGroup    string `json:"apiGroup"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus *struct {
		Code    int32 `json:"code"`
		Details *struct {
			UID types.UID `json:"uid"`
		} `json:"details"`
	} `json:"responseStatus"`
	RequestReceivedTimestamp time.Time `json:"requestReceivedTimestamp"`
}

// In a line the verb stands after verb, and comes before anything whose keys are not an API server's own. A quote inside of a value is
// written otherwise, so that nobody can make a line look so by a name.
var verb = []byte(`"verb":"`)

// changes says whether a line may tell of a change or a deletion. Most do not, and are passed over unread.
func changes(line []byte) bool {
	_, after, _ := bytes.Cut(line, verb)
	for _, one := range []string{`delete"`, `deletecollection"`, `patch"`, `update"`} {
		if len(after) > len(one) && string(after[:len(one)]) == one {
			return true
		}
	}
	return false
}

var impersonated = []byte(`"impersonatedUser"`)

// reader takes deeds out of lines.
type reader struct {
	// own is in each line about a request of the agent.
	own []byte
	// self is under which name the API server knows the agent, and manager under which the agent owns fields.
	self, manager string
}

func newReader(self, manager string) *reader {
	quoted, _ := json.Marshal(self) // a string always can be
	return &reader{own: append([]byte(`"username":`), quoted...), self: self, manager: manager}
}

// read returns the deed that a line tells of, if it does. Whatever the line is, it is no error.
func (r *reader) read(line []byte) (d deed, ok bool) {
	if !changes(line) || bytes.Contains(line, r.own) && !bytes.Contains(line, impersonated) {
		return deed{}, false
	}
	var e event
	if json.Unmarshal(line, &e) != nil || e.Stage != "ResponseComplete" || e.ObjectRef == nil || e.ResponseStatus == nil {
		return deed{}, false
	}
	if e.ResponseStatus.Code < 200 || e.ResponseStatus.Code > 299 {
		return deed{}, false
	}
	if sub := e.ObjectRef.Subresource; sub != "" && sub != "scale" {
		return deed{}, false
	}
	uri, err := url.Parse(e.RequestURI)
	if err != nil {
		return deed{}, false
	}
	query := uri.Query()
	if query.Get("dryRun") != "" {
		return deed{}, false
	}
	d = deed{
		place:   Place{Group: e.ObjectRef.APIGroup, Resource: e.ObjectRef.Resource, Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name},
		user:    e.User.Username,
		manager: managerOf(query.Get("fieldManager"), e.UserAgent), received: e.RequestReceivedTimestamp,
	}
	if as := e.ImpersonatedUser; as != nil {
		d.user = as.Username
	}
	switch e.Verb {
	case "delete":
		d.deleted = true
	case "deletecollection":
		if query.Get("fieldSelector") != "" {
			return deed{}, false // which of them it was cannot be told
		}
		d.deleted, d.place.Name, d.labels = true, "", query.Get("labelSelector")
	case "patch", "update":
		if d.place.Name == "" || e.User.Username == r.self && d.manager == r.manager {
			return deed{}, false // the agent, as itself or as the ServiceAccount of a team
		}
	default:
		return deed{}, false
	}
	if details := e.ResponseStatus.Details; details != nil && d.place.Name != "" {
		d.uid = details.UID
	}
	return d, d.fits()
}

// fits says whether there is nothing in a deed that no API server writes.
func (d deed) fits() bool {
	for _, name := range []string{d.user, d.manager, d.place.Group, d.place.Resource, d.place.Namespace, d.place.Name, d.labels, string(d.uid)} {
		if len(name) > maxName || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }) {
			return false
		}
	}
	return d.user != "" && d.place.Resource != "" && !d.received.IsZero()
}

// managerOf returns the field manager of a request, as the API server does: the one that it names, or its program.
func managerOf(named, userAgent string) string {
	if named != "" {
		return named
	}
	program, _, _ := strings.Cut(userAgent, "/")
	return program
}
