package preview

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
	"umbel.dev/umbel/internal/delivery/sealed"
)

// inFlight is how many requests to one member are under way at a time, as many as an agent writes at a time.
const inFlight = 16

// Action is what would happen to an object.
type Action string

const (
	// Add: it is not there.
	Add Action = "add"
	// Update: it is, and differs.
	Update Action = "change"
	// Delete: it is there, and not in the content.
	Delete Action = "delete"
	// LetGo: it is there, and not in the content; it stays, and is nobody's, since it was there before or asks for that.
	LetGo Action = "let go"
)

// Change is one object that would not stay as it is.
type Change struct {
	Action Action `json:"action"`
	// Object is KIND[.GROUP] [NAMESPACE/]NAME.
	Object string `json:"object"`
	// File is where it stands in the source.
	File string `json:"file,omitempty"`
	// Diff is the difference as a unified diff of YAML, without the names of files; for Update and LetGo alone.
	Diff string `json:"diff,omitempty"`
	// Note says what is to be known of it.
	Note string `json:"note,omitempty"`
	// Problem says why the agent could not do it as things are.
	Problem string `json:"problem,omitempty"`
}

// Preview is what would happen on one member.
type Preview struct {
	// Changes, by action and object.
	Changes []Change
	// Same is how many objects would stay as they are.
	Same int
	// Unknown says what could not be looked at.
	Unknown []string
}

// Member is the API server of a member. It may be asked by many at once.
type Member struct {
	config   *rest.Config
	client   *http.Client
	dynamic  dynamic.Interface
	metadata metadata.Interface
	listings listings
	catalog  catalog
}

// within has requests of discovery, which knows no context, end with one.
type within struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (w within) RoundTrip(r *http.Request) (*http.Response, error) {
	return w.next.RoundTrip(r.WithContext(w.ctx))
}

// Open returns the API server that config reaches. It asks nothing of it yet.
func Open(config *rest.Config) (*Member, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1                           // inFlight bounds it
	config.WarningHandler = rest.NoWarnings{} // every kind is listed, deprecated ones too
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	m := &Member{config: config, client: client, listings: listings{keep: recent, of: map[place]listing{}}, catalog: catalog{keep: recent}}
	if m.dynamic, err = dynamic.NewForConfigAndClient(config, client); err != nil {
		return nil, err
	}
	m.metadata, err = metadata.NewForConfigAndClient(metadata.ConfigFor(config), client)
	return m, err
}

// Forget has the next look believe nothing that was found before.
func (m *Member) Forget() {
	m.listings.forget()
	m.catalog.forget()
}

// Of says what would happen if the member held the content. Its error says that the member could not be asked.
func (m *Member) Of(ctx context.Context, content *Content) (*Preview, error) {
	look, err := m.begin(ctx, content)
	if err != nil {
		return nil, err
	}
	var group errgroup.Group
	group.SetLimit(inFlight)
	for _, o := range look.objects {
		group.Go(func() error { return look.object(ctx, o) })
	}
	for key, held := range look.held {
		group.Go(func() error { return look.leaves(ctx, key, held) })
	}
	if !content.whole {
		for _, list := range look.kinds.served {
			for _, resource := range list.APIResources {
				group.Go(func() error { return look.leaving(ctx, list.GroupVersion, resource) })
			}
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return look.preview(), nil
}

// look is one look at a member.
type look struct {
	*Member
	*Content
	wanted map[bundle.Key]bool // with the namespace default written out
	held   map[bundle.Key]Held // as wanted
	kinds  *kinds
	// grounds are the places of its objects, nothing of which is added to once the look has begun.
	grounds map[place]*ground

	mu    sync.Mutex
	found Preview
}

func (m *Member) begin(ctx context.Context, content *Content) (*look, error) {
	found, err := m.kindsFor(ctx, content)
	if err != nil {
		return nil, err
	}
	l := &look{Member: m, Content: content, kinds: found, wanted: map[bundle.Key]bool{}, held: map[bundle.Key]Held{}, grounds: map[place]*ground{}}
	if !content.whole {
		for gv, why := range found.silent {
			l.unknown("kinds of %s: %v", gv, why)
		}
	}
	for _, o := range l.objects {
		at := o.ID.Key()
		if mapping, err := l.kinds.mapping(o.ID); err == nil {
			at.Namespace = namespaceOf(mapping, o.ID.Namespace)
			l.survey(ctx, place{at.Namespace, mapping.Resource})
		}
		l.wanted[at] = true
	}
	for key, held := range l.holds {
		if mapping, err := l.kinds.mapper.RESTMapping(schema.GroupKind{Group: key.Group, Kind: key.Kind}); err == nil {
			key.Namespace = namespaceOf(mapping, key.Namespace)
		}
		l.held[key] = held
	}
	return l, nil
}

func namespaceOf(mapping *meta.RESTMapping, namespace string) string {
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return ""
	}
	return cmp.Or(namespace, metav1.NamespaceDefault)
}

// object looks at one object of the content. Its error says that the member cannot be asked.
func (l *look) object(ctx context.Context, o Object) error {
	change := Change{Object: o.ID.String(), File: o.File}
	mapping, err := l.kinds.mapping(o.ID)
	if err != nil {
		l.add(l.unserved(change, o))
		return nil
	}
	at := l.dynamic.Resource(mapping.Resource).Namespace(namespaceOf(mapping, o.ID.Namespace))
	sent, err := o.Read()
	if err != nil {
		return fmt.Errorf("%s: %w", o.ID, err)
	}
	key := o.ID.Key()
	key.Namespace = namespaceOf(mapping, o.ID.Namespace)
	if l.rules.Leaves(sent.Asks) && l.sentBefore(key, sent) {
		l.same() // whatever others have made of it
		return nil
	}
	in := l.grounds[place{key.Namespace, mapping.Resource}]
	_, held := l.held[key]
	now, err := in.find(ctx, at, o.ID.Name, held)
	if err != nil {
		return l.told(change, err, error.Error)
	}
	body, wrong := sent.Against(now, l.rules.Left(key, sent.Asks))
	if wrong != nil {
		change.Action, change.Problem = Update, wrong.Error()
		if now == nil {
			change.Action = Add
		}
		l.add(change)
		return nil
	}
	say := error.Error
	if sent.ID.Secret() || sent.Sealed {
		say = sealed.Unquoted
	}
	if sent.Sealed {
		change.Note = encryptedNote(sent.Body, now)
	}
	var then *unstructured.Unstructured
	if now == nil && l.trusts && in.enough() {
		return l.differs(change, nil, nil)
	}
	if !in.isUnborn() {
		then, err = sent.Rehearse(ctx, at, body, func(conflict error) bool { return l.retakes(key, now, conflict) })
		if apierrors.IsNotFound(err) && now == nil && l.wanted[bundle.Key{Kind: "Namespace", Name: key.Namespace}] {
			in.noteUnborn()
		}
	}
	if now == nil && in.isUnborn() {
		change.Action, change.Note = Add, "its namespace comes with this package: the API server cannot check it yet"
		l.add(change)
		return nil
	}
	if err != nil {
		return l.told(change, err, say)
	}
	return l.differs(change, now, then)
}

// retakes says whether the agent would take back the fields of a conflict. Where it is not known what it sent last, it is taken to, of an
// object that it had a hand in.
func (l *look) retakes(key bundle.Key, now *unstructured.Unstructured, conflict error) bool {
	if now == nil {
		return false
	}
	if l.holds == nil {
		return outgoing.MayRetake(conflict, now.GetManagedFields())
	}
	before, left, known := l.before(key)
	return known && before.Retakes(conflict, left, now.GetManagedFields())
}

// sentBefore says whether an object is known to have been sent as it is.
func (l *look) sentBefore(key bundle.Key, sent outgoing.Object) bool {
	before, _, known := l.before(key)
	return known && bytes.Equal(before.Body, sent.Body) && slices.Equal(before.Files, sent.Files)
}

// before is an object as it was sent last, where that is known.
func (l *look) before(key bundle.Key) (sent outgoing.Object, left *outgoing.Left, known bool) {
	held, is := l.held[key]
	if !is || held.Sent == nil {
		return outgoing.Object{}, nil, false
	}
	return held.Sent()
}

// unserved is the change of an object whose kind the cluster does not have.
func (l *look) unserved(change Change, o Object) Change {
	change.Action = Add
	if gk := (schema.GroupKind{Group: o.ID.Group(), Kind: o.ID.Kind}); l.defines[gk] {
		change.Note = "its kind comes with this package: the API server cannot check it yet"
	} else {
		change.Problem = fmt.Sprintf("the cluster has no kind %s in %s", o.ID.Kind, o.ID.APIVersion)
	}
	return change
}

// differs takes in what an object is, nil when there is none, and what it would be.
func (l *look) differs(change Change, now, then *unstructured.Unstructured) (err error) {
	if now == nil {
		change.Action = Add
		l.add(change)
		return nil
	}
	change.Action = Update
	if change.Diff, err = Difference(now, then); err != nil {
		return fmt.Errorf("%s: %w", change.Object, err)
	}
	if change.Diff == "" {
		l.same()
		return nil
	}
	l.add(change)
	return nil
}

func (l *look) same() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found.Same++
}

// encryptedNote says what cannot be looked at of an object that came encrypted, and whether that changes.
func encryptedNote(body []byte, now *unstructured.Unstructured) string {
	if now == nil {
		return "encrypted: its values are known in the cluster alone"
	}
	var wanted unstructured.Unstructured
	if err := json.Unmarshal(body, &wanted.Object); err != nil {
		return "encrypted: whether its values change is not known"
	}
	if now.GetAnnotations()[sealed.EncryptedAnnotation] == wanted.GetAnnotations()[sealed.EncryptedAnnotation] {
		return ""
	}
	return "changed (encrypted)"
}

// answered says whether an error is the word of the member's API server, and not of the way to it.
func answered(err error) bool {
	status, is := errors.AsType[*apierrors.StatusError](err)
	if !is {
		return false
	}
	switch status.ErrStatus.Code {
	case http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return false
	}
	return true
}

// told takes over what the API server says against a change, as say puts it. Other errors are returned: nobody was asked then.
func (l *look) told(change Change, err error, say func(error) string) error {
	if !answered(err) {
		return fmt.Errorf("%s: %w", change.Object, err)
	}
	change.Action, change.Problem = cmp.Or(change.Action, Update), say(err)
	l.add(change)
	return nil
}

func (l *look) add(change Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found.Changes = append(l.found.Changes, change)
}

func (l *look) unknown(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found.Unknown = append(l.found.Unknown, fmt.Sprintf(format, args...))
}

// preview is what was found, in order.
func (l *look) preview() *Preview {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortFunc(l.found.Changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(orderOf(a.Action), orderOf(b.Action)), strings.Compare(a.Object, b.Object))
	})
	slices.Sort(l.found.Unknown)
	return &l.found
}

func orderOf(a Action) int { return slices.Index([]Action{Update, Add, LetGo, Delete}, a) }
