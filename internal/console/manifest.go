package console

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	members "umbel.dev/umbel/internal/cli/fleet"
	"umbel.dev/umbel/internal/delivery/preview"
	"umbel.dev/umbel/internal/delivery/sealed"
)

const (
	// maxManifest is how long what somebody writes may be: the API's store takes no larger object.
	maxManifest = 2 << 20
	// manager is under whose name fields are kept that somebody wrote in the console.
	manager = "umbel-console"
	// writeTries is how often a change is said again of an object whose status alone has changed meanwhile.
	writeTries = 20
)

// Manifest is an object of the hub as somebody writes it: without its status, and without what the API writes itself.
type Manifest struct {
	Kind string `json:"kind"`
	// Text is the object in YAML, and Object the same. Read is when it was so.
	Text   string      `json:"text"`
	Object any         `json:"object"`
	Read   metav1.Time `json:"read"`
	// Not says why the person may not save it; empty when they may.
	Not     string `json:"not,omitempty"`
	Kubectl string `json:"kubectl"`
}

// Written is what becomes of a manifest that somebody wrote: what it changes, or why it cannot be.
type Written struct {
	// Diff is what changes, as a unified diff. It is empty when nothing does.
	Diff string `json:"diff"`
	// Kubectl makes the same change in a terminal.
	Kubectl string `json:"kubectl"`
	// Problems are why the API does not take it, and Warnings what it says beside taking it.
	Problems []Problem `json:"problems"`
	Warnings []string  `json:"warnings"`
	// Meanwhile is what somebody else made of it since it was read: nothing was changed then.
	Meanwhile *Meanwhile `json:"meanwhile,omitempty"`
	// Saved is the object as it is kept now; nil of a dry run.
	Saved *Manifest `json:"saved,omitempty"`
	Name  string    `json:"name"`
}

// Problem is something that the API does not take, at a line of what was written where that can be told, from 1.
type Problem struct {
	Line    int    `json:"line"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// Meanwhile is a change of somebody else.
type Meanwhile struct {
	// Who is the person as the audit log has them, or the program as the API has it; Time is that of their latest change. Of MemberClusters the API keeps
	// neither program nor time.
	Who  string       `json:"who"`
	Time *metav1.Time `json:"time,omitempty"`
	// Diff is what they changed, Now how the object is, and Both that with what was written here.
	Diff string `json:"diff"`
	Now  string `json:"now"`
	Both string `json:"both"`
}

// papers are objects of one kind of the hub's API, as a person reads and writes them.
type papers struct {
	client.Client
	of       writable
	key      client.ObjectKey
	warnings *warnings
}

// warnings are what the API says beside its answers.
type warnings []string

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(code int, _, text string) {
	if code == 299 && len(*w) < maxNames { // the one that Kubernetes uses
		*w = append(*w, text)
	}
}

// papers opens what a request is about.
func (c *Console) papers(r *http.Request, s *session) (*papers, error) {
	asked := r.URL.Query()
	return c.papersOf(r, s, r.PathValue("resource"), client.ObjectKey{Namespace: asked.Get("namespace"), Name: asked.Get("name")})
}

func (c *Console) papersOf(r *http.Request, s *session, resource string, key client.ObjectKey) (*papers, error) {
	of, known := writables[resource]
	if !known {
		return nil, refused(http.StatusNotFound, "objects %q are not written here; `kubectl edit` writes any that you may", resource)
	}
	p := &papers{of: of, warnings: &warnings{}, key: client.ObjectKey{Name: key.Name}}
	if of.scope == meta.RESTScopeNamespace {
		p.key.Namespace = cmp.Or(key.Namespace, "default")
	}
	hub, err := c.desk(r, s, p.key.Namespace).Connect()
	if err != nil {
		return nil, err
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.AddSpecific(of.kind, of.kind.GroupVersion().WithResource(of.resource), of.kind.GroupVersion().WithResource(strings.ToLower(of.kind.Kind)), of.scope)
	mapper.Add(authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectAccessReview"), meta.RESTScopeRoot)
	config := rest.CopyConfig(hub.Config)
	config.WarningHandler = p.warnings
	api, err := client.New(config, client.Options{Scheme: hub.Scheme(), Mapper: mapper})
	if err != nil {
		return nil, err
	}
	p.Client = client.WithFieldValidation(client.WithFieldOwner(api, manager), metav1.FieldValidationStrict)
	return p, nil
}

func (p *papers) read(ctx context.Context) (*unstructured.Unstructured, error) {
	now := &unstructured.Unstructured{}
	now.SetGroupVersionKind(p.of.kind)
	if err := p.Get(ctx, p.key, now); err != nil {
		return nil, ofHub(err)
	}
	if _, secret := now.GetAnnotations()[sealed.EncryptedAnnotation]; secret {
		return nil, refused(http.StatusForbidden, "%s %q came encrypted: it is not shown here, and changed where it comes from", p.of.kind.Kind, p.key.Name)
	}
	return now, nil
}

// mayNot says why the person may not do something to what this is about; empty when they may.
func (p *papers) mayNot(ctx context.Context, verb string) (string, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
		Verb: verb, Group: p.of.kind.Group, Resource: p.of.resource, Namespace: p.key.Namespace, Name: p.key.Name,
	}}}
	if err := p.Create(ctx, review); err != nil || review.Status.Allowed {
		return "", ofHub(err)
	}
	on := p.of.name()
	if p.key.Name != "" {
		on += fmt.Sprintf(" %q", p.key.Name)
	}
	if p.key.Namespace != "" {
		on += fmt.Sprintf(" in namespace %q", p.key.Namespace)
	}
	return fmt.Sprintf("that takes the verb %q on %s", verb, on), nil
}

func (c *Console) serveManifest(w http.ResponseWriter, r *http.Request, s *session) {
	manifest, err := c.manifest(r, s)
	c.answer(w, r, manifest, err)
}

// manifest is an object to write, or where none is named what a new one may begin with.
func (c *Console) manifest(r *http.Request, s *session) (*Manifest, error) {
	p, err := c.papers(r, s)
	if err != nil {
		return nil, err
	}
	m, verb := &Manifest{}, "create"
	if p.key.Name != "" {
		now, err := p.read(r.Context())
		if err != nil {
			return nil, err
		}
		if m, err = p.manifest(now); err != nil {
			return nil, err
		}
		verb = "patch"
	} else if m, err = p.blank(); err != nil {
		return nil, err
	}
	m.Read = metav1.NewTime(c.Now())
	m.Not, err = p.mayNot(r.Context(), verb)
	return m, err
}

func (p *papers) manifest(o *unstructured.Unstructured) (*Manifest, error) {
	bare := writing(o)
	text, err := yaml.Marshal(bare)
	if err != nil {
		return nil, fmt.Errorf("writing %s %q as YAML: %w", p.of.kind.Kind, o.GetName(), err)
	}
	return &Manifest{Kind: p.of.kind.Kind, Text: string(text), Object: bare, Kubectl: fmt.Sprintf("kubectl edit %s %s%s", p.of.name(), o.GetName(), p.where())}, nil
}

// writing is what of an object somebody writes.
func writing(o *unstructured.Unstructured) map[string]any {
	bare := preview.Bare(o)
	unstructured.RemoveNestedField(bare, "metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration")
	if left, _, _ := unstructured.NestedMap(bare, "metadata", "annotations"); len(left) == 0 {
		unstructured.RemoveNestedField(bare, "metadata", "annotations")
	}
	return bare
}

func (p *papers) where() string {
	if p.key.Namespace == "" {
		return ""
	}
	return " -n " + p.key.Namespace
}

func (c *Console) serveWritten(w http.ResponseWriter, r *http.Request, s *session) {
	var said draft
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxManifest)).Decode(&said); err != nil {
		c.answer(w, r, nil, refused(http.StatusBadRequest, "what is written cannot be read: %s", err))
		return
	}
	written, err := c.write(r, s, &said)
	c.answer(w, r, written, err)
}

// draft is what somebody wrote, and Base what they began with, as it was read then.
type draft struct {
	Text string      `json:"text"`
	Base string      `json:"base"`
	Read metav1.Time `json:"read"`
}

// write has the API take what somebody wrote, or with dryRun=All say what would become of it.
func (c *Console) write(r *http.Request, s *session, said *draft) (*Written, error) {
	p, err := c.papers(r, s)
	if err != nil {
		return nil, err
	}
	page := sheetOf(said.Text)
	mine := p.parse(page)
	written := &Written{Problems: page.problems, Warnings: []string{}, Name: p.key.Name}
	if len(page.problems) > 0 {
		return written, nil
	}
	dry := r.URL.Query().Get("dryRun") == metav1.DryRunAll
	if p.key.Name == "" {
		err = p.add(r.Context(), mine, written, dry)
	} else {
		err = p.change(r.Context(), mine, said.Base, written, dry)
	}
	written.Warnings = append(written.Warnings, *p.warnings...)
	if written.Problems = page.problemsOf(err); len(written.Problems) > 0 {
		return written, nil
	}
	if err == nil && written.Meanwhile != nil {
		c.whoChanged(r, s, p, written.Meanwhile, said.Read.Time)
	}
	if written.Saved != nil {
		written.Saved.Read = metav1.NewTime(c.Now())
	}
	return written, ofHub(err)
}

// add makes an object.
func (p *papers) add(ctx context.Context, mine *unstructured.Unstructured, written *Written, dry bool) error {
	manifest, err := yaml.Marshal(mine.Object)
	if err != nil {
		return err
	}
	made := mine.DeepCopy()
	var options []client.CreateOption
	if dry {
		options = append(options, client.DryRunAll)
	}
	if err := p.Create(ctx, made, options...); err != nil {
		return err
	}
	p.key.Name, written.Name = made.GetName(), made.GetName()
	written.Kubectl = "kubectl create -f - <<'EOF'\n" + string(manifest) + "EOF"
	return p.outcome(nothingOf(made), made, written, dry)
}

// nothingOf is an object of a kind before there is one.
func nothingOf(o *unstructured.Unstructured) *unstructured.Unstructured {
	none := &unstructured.Unstructured{Object: map[string]any{}}
	none.SetGroupVersionKind(o.GroupVersionKind())
	return none
}

// change changes an object as what was written differs from what it began with. Of one that somebody else has changed since, but for its status, it changes nothing.
func (p *papers) change(ctx context.Context, mine *unstructured.Unstructured, base string, written *Written, dry bool) error {
	for try := 1; ; try++ {
		now, err := p.read(ctx)
		if err != nil {
			return err
		}
		is, err := p.manifest(now)
		if err != nil {
			return err
		}
		patch, err := p.difference(base, mine)
		if err != nil {
			return err
		}
		if is.Text != base {
			written.Meanwhile, err = p.meanwhile(base, now, is, patch)
			return err
		}
		written.Kubectl = fmt.Sprintf("kubectl patch %s %s%s --type merge -p %s", p.of.name(), p.key.Name, p.where(), inShell(string(patch)))
		locked, err := jsonpatch.MergePatch(patch, fmt.Appendf(nil, `{"metadata":{"resourceVersion":%q}}`, now.GetResourceVersion()))
		if err != nil {
			return err
		}
		var options []client.PatchOption
		if dry {
			options = append(options, client.DryRunAll)
		}
		then := now.DeepCopy()
		err = p.Patch(ctx, then, client.RawPatch(types.MergePatchType, locked), options...)
		if apierrors.IsConflict(err) && try < writeTries {
			continue
		}
		if err != nil {
			return err
		}
		return p.outcome(now, then, written, dry)
	}
}

// difference is what was written here, as a merge patch of what it began with.
func (p *papers) difference(base string, mine *unstructured.Unstructured) ([]byte, error) {
	was, err := yaml.YAMLToJSON([]byte(base))
	if err != nil {
		return nil, refused(http.StatusBadRequest, "what was begun with cannot be read: %s", err)
	}
	is, err := json.Marshal(mine.Object)
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.CreateMergePatch(was, is)
	if err != nil {
		return nil, refused(http.StatusBadRequest, "what was begun with is no object: %s", err)
	}
	return patch, nil
}

// outcome says what has changed, or would.
func (p *papers) outcome(now, then *unstructured.Unstructured, written *Written, dry bool) (err error) {
	if written.Diff, err = preview.Difference(now, then); err != nil || dry {
		return err
	}
	written.Saved, err = p.manifest(then)
	return err
}

// meanwhile is what somebody else made of an object.
func (p *papers) meanwhile(base string, now *unstructured.Unstructured, is *Manifest, patch []byte) (*Meanwhile, error) {
	was := &unstructured.Unstructured{}
	raw, err := yaml.YAMLToJSON([]byte(base))
	if err == nil {
		err = utiljson.Unmarshal(raw, &was.Object)
	}
	if err != nil {
		return nil, refused(http.StatusBadRequest, "what was begun with cannot be read: %s", err)
	}
	m := &Meanwhile{Who: "somebody", Now: is.Text}
	for _, entry := range now.GetManagedFields() {
		if entry.Subresource == "" && entry.Time != nil && (m.Time == nil || m.Time.Before(entry.Time)) {
			m.Who, m.Time = entry.Manager, entry.Time
		}
	}
	if m.Diff, err = preview.Difference(was, now); err != nil {
		return nil, err
	}
	whole, err := json.Marshal(is.Object)
	if err != nil {
		return nil, err
	}
	both, err := jsonpatch.MergePatch(whole, patch)
	if err != nil {
		return nil, err
	}
	text, err := yaml.JSONToYAML(both)
	m.Both = string(text)
	return m, err
}

// serveMemberManifest shows an object of a member, as the member has it: who may see it there sees it, but for the values of Secrets.
func (c *Console) serveMemberManifest(w http.ResponseWriter, r *http.Request, s *session) {
	manifest, err := c.memberManifest(r, s)
	c.answer(w, r, manifest, err)
}

func (c *Console) memberManifest(r *http.Request, s *session) (*Manifest, error) {
	asked := r.URL.Query()
	query := members.Query{Kind: asked.Get("kind"), Namespace: asked.Get("namespace"), Names: []string{asked.Get("name")}, Timeout: searchEach, Late: "try again, or see on its page how it is"}
	if query.Kind == "" || query.Names[0] == "" {
		return nil, refused(http.StatusBadRequest, "say which kind, as kubectl knows it, and the name: kind=deployments.apps&namespace=shop&name=web")
	}
	f := c.desk(r, s, query.Namespace)
	hub, err := f.Connect()
	if err != nil {
		return nil, err
	}
	var cluster v1alpha1.MemberCluster
	if err := hub.Get(r.Context(), client.ObjectKey{Name: r.PathValue("name")}, &cluster); err != nil {
		return nil, ofHub(hub.Explain(err))
	}
	asking, err := members.Members(r.Context(), f, hub, []v1alpha1.MemberCluster{cluster})
	if err != nil {
		return nil, ofHub(err)
	}
	object, err := members.Read(r.Context(), asking[0], query)
	if err != nil {
		if is := ofHub(err); is != err {
			return nil, is
		}
		return nil, refused(http.StatusServiceUnavailable, "cluster %q: %s", cluster.Name, err)
	}
	text, err := preview.Shown(object)
	if err != nil {
		return nil, err
	}
	shown := &Manifest{Kind: object.GetKind(), Text: text, Read: metav1.NewTime(c.Now()), Not: "what is in a cluster is changed where it comes from, or with kubectl"}
	shown.Kubectl = fmt.Sprintf("umbel kubectl %s -- get %s %s -o yaml", cluster.Name, query.Kind, object.GetName())
	if object.GetNamespace() != "" {
		shown.Kubectl += " -n " + object.GetNamespace()
	}
	return shown, nil
}
