package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/preview"
)

// drawn is a kind of which a test draws objects.
type drawn struct {
	at         schema.GroupVersionResource
	apiVersion string
	kind       string
	// fields draws what an object holds besides its metadata.
	fields func(*draw) map[string]any
}

// draw is where random objects come from.
type draw struct{ *rand.Rand }

func (d *draw) chance(percent int) bool    { return d.IntN(100) < percent }
func (d *draw) of(values ...string) string { return values[d.IntN(len(values))] }
func (d *draw) some(values ...string) []any {
	var some []any
	for _, v := range values {
		if d.chance(60) {
			some = append(some, v)
		}
	}
	return some
}

// maybe puts a field there, or not.
func (d *draw) maybe(in map[string]any, field string, value any) {
	if d.chance(50) {
		in[field] = value
	}
}

func (d *draw) container(name string) map[string]any {
	c := map[string]any{"name": name, "image": "registry.example/" + name + ":" + d.of("1", "2")}
	var env []any
	for _, name := range d.some("A", "B", "C") {
		env = append(env, map[string]any{"name": name, "value": d.of("x", "y")})
	}
	d.maybe(c, "env", env)
	d.maybe(c, "args", d.some("--one", "--two", "--three"))
	d.maybe(c, "ports", []any{map[string]any{"containerPort": int64(80 + d.IntN(3)), "name": d.of("web", "http")}})
	d.maybe(c, "resources", map[string]any{"limits": map[string]any{"cpu": d.of("100m", "0.1", "1", "1000m")}}) // some are the same
	d.maybe(c, "livenessProbe", map[string]any{"httpGet": map[string]any{"path": d.of("/", "/healthz"), "port": int64(80)}})
	return c
}

func (d *draw) policyRule() map[string]any {
	return map[string]any{"apiGroups": []any{d.of("", "apps")}, "resources": []any{d.of("pods", "secrets")}, "verbs": d.verbs()}
}

func (d *draw) verbs() []any { return append(d.some("list", "watch"), "get") }

// draws are kinds whose fields are merged in every way that there is: maps, lists that are sets, maps by key, or one value;
// with defaults that the API server fills in, and values that it writes otherwise than they were sent.
func draws(group string) []drawn {
	return []drawn{
		{schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, "v1", "ConfigMap", func(d *draw) map[string]any {
			data := map[string]any{}
			for _, key := range d.some("a", "b", "c", "d") {
				data[key.(string)] = d.of("1", "2", "a\nb\n")
			}
			return map[string]any{"data": data}
		}},
		{schema.GroupVersionResource{Version: "v1", Resource: "services"}, "v1", "Service", func(d *draw) map[string]any {
			spec := map[string]any{"selector": map[string]any{"app": d.of("a", "b")}}
			var ports []any
			for i, name := range append(d.some("web", "admin"), "main") {
				port := map[string]any{"name": name, "port": int64(8000 + i)}
				d.maybe(port, "targetPort", int64(8080))
				d.maybe(port, "protocol", d.of("TCP", "UDP"))
				ports = append(ports, port)
			}
			spec["ports"] = ports
			d.maybe(spec, "type", d.of("ClusterIP", "NodePort"))
			d.maybe(spec, "sessionAffinity", d.of("None", "ClientIP"))
			return map[string]any{"spec": spec}
		}},
		{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, "apps/v1", "Deployment", func(d *draw) map[string]any {
			pod := map[string]any{"containers": []any{d.container("web")}}
			if d.chance(40) {
				pod["containers"] = append(pod["containers"].([]any), d.container("side"))
			}
			d.maybe(pod, "tolerations", []any{map[string]any{"key": d.of("a", "b"), "operator": "Exists"}})
			meta := map[string]any{"labels": map[string]any{"app": "web"}}
			d.maybe(meta, "annotations", map[string]any{"release": d.of("1", "2")})
			spec := map[string]any{
				"selector": map[string]any{"matchLabels": map[string]any{"app": "web"}},
				"template": map[string]any{"metadata": meta, "spec": pod},
			}
			d.maybe(spec, "replicas", int64(d.IntN(3)))
			d.maybe(spec, "strategy", map[string]any{"rollingUpdate": map[string]any{"maxSurge": d.of("10%", "25%")}})
			return map[string]any{"spec": spec}
		}},
		{schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}, "rbac.authorization.k8s.io/v1", "Role",
			func(d *draw) map[string]any { return map[string]any{"rules": []any{d.policyRule(), d.policyRule()}} }},
		{schema.GroupVersionResource{Group: group, Version: "v1", Resource: "things"}, group + "/v1", "Thing", func(d *draw) map[string]any {
			spec := map[string]any{}
			d.maybe(spec, "set", d.some("a", "b", "c"))
			d.maybe(spec, "atomic", d.some("a", "b", "c"))
			var byName []any
			for _, name := range d.some("a", "b", "c") {
				one := map[string]any{"name": name}
				d.maybe(one, "value", int64(d.IntN(3)))
				byName = append(byName, one)
			}
			d.maybe(spec, "byName", byName)
			d.maybe(spec, "whole", map[string]any{d.of("a", "b"): d.of("1", "2")})
			d.maybe(spec, "withDefault", d.of("default", "other"))
			return map[string]any{"spec": spec}
		}},
	}
}

// things defines the kind Thing in a group of the test's own.
func (s *station) things(group string) {
	s.t.Helper()
	text := map[string]any{"type": "string"}
	list := func(of any, more map[string]any) map[string]any {
		l := map[string]any{"type": "array", "items": of}
		maps.Copy(l, more)
		return l
	}
	spec := map[string]any{
		"set":    list(text, map[string]any{"x-kubernetes-list-type": "set"}),
		"atomic": list(text, map[string]any{"x-kubernetes-list-type": "atomic"}),
		"byName": list(map[string]any{"type": "object", "required": []any{"name"}, "properties": map[string]any{
			"name": text, "value": map[string]any{"type": "integer", "default": int64(1)},
		}}, map[string]any{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": []any{"name"}}),
		"whole":       map[string]any{"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": text},
		"withDefault": map[string]any{"type": "string", "default": "default"},
	}
	object := func(properties map[string]any) map[string]any {
		return map[string]any{"type": "object", "properties": properties}
	}
	definitions := s.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	_, err := definitions.Create(s.t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "things." + group},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced", "names": map[string]any{"kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": object(map[string]any{"spec": object(spec)})}}},
		},
	}}, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	err = wait.PollUntilContextTimeout(s.t.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := s.dynamic.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: "things"}).Namespace(s.namespace).List(ctx, metav1.ListOptions{})
		return err == nil, nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// exact is a member whose objects change at random, by releases and by others.
type exact struct {
	*station
	kinds []drawn
	d     *draw
	// policy is how drift is treated, and holds what the release has that is applied.
	policy *wire.Policy
	holds  []string
}

const perKind = 2 // objects of each kind, at the most

func (e *exact) at(k drawn) dynamic.ResourceInterface {
	return e.dynamic.Resource(k.at).Namespace(e.namespace)
}

// pkg is the package of one member: the API server is that of other tests too.
func (e *exact) pkg() string { return "planned/" + e.namespace }

func (e *exact) each(do func(k drawn, name string)) {
	for _, k := range e.kinds {
		for i := range perKind {
			do(k, fmt.Sprintf("%s-%d", strings.ToLower(k.kind), i))
		}
	}
}

// object draws one.
func (e *exact) object(k drawn, name string) *unstructured.Unstructured {
	meta := map[string]any{"name": name, "namespace": e.namespace}
	e.d.maybe(meta, "labels", map[string]any{"tier": e.d.of("a", "b")})
	e.d.maybe(meta, "annotations", map[string]any{"note": e.d.of("1", "2")})
	switch e.d.IntN(20) { // what an object asks for
	case 0:
		meta["annotations"] = map[string]any{v1alpha1.TakeOverAnnotation: "true"}
	case 1:
		meta["annotations"] = map[string]any{v1alpha1.DriftAnnotation: e.d.of("ignore", "report", "repair")}
	case 2:
		meta["labels"] = map[string]any{v1alpha1.OnLeavingLabel: e.d.of(v1alpha1.LeavingKeep, v1alpha1.LeavingDelete)}
	}
	fields := k.fields(e.d)
	fields["apiVersion"], fields["kind"], fields["metadata"] = k.apiVersion, k.kind, meta
	return &unstructured.Unstructured{Object: fields}
}

// release draws what the next release holds.
func (e *exact) next() (objects []string) {
	e.t.Helper()
	e.each(func(k drawn, name string) {
		if !e.d.chance(75) {
			return
		}
		raw, err := e.object(k, name).MarshalJSON()
		if err != nil {
			e.t.Fatal(err)
		}
		objects = append(objects, string(raw))
	})
	return objects
}

// meddles has others change something. What the API server refuses of it has not happened.
func (e *exact) meddles(k drawn, name string) {
	ctx, drawn := e.t.Context(), e.object(k, name)
	now, err := e.at(k).Get(ctx, name, metav1.GetOptions{})
	switch what := e.d.IntN(6); {
	case what == 0:
		_ = e.at(k).Delete(ctx, name, metav1.DeleteOptions{})
	case what == 1:
		_, _ = e.at(k).Apply(ctx, name, drawn, metav1.ApplyOptions{FieldManager: "somebody", Force: true})
	case what == 2:
		patch, _ := drawn.MarshalJSON()
		_, _ = e.at(k).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-patch"})
	case what == 3 && err == nil:
		for field, value := range drawn.Object {
			if field != "metadata" {
				now.Object[field] = value
			}
		}
		_, _ = e.at(k).Update(ctx, now, metav1.UpdateOptions{FieldManager: "kubectl-edit"})
	case what == 4 && err == nil:
		now.SetAnnotations(map[string]string{"note": e.d.of("1", "3")})
		now.SetLabels(map[string]string{"of": "nobody"}) // ours as well are gone
		_, _ = e.at(k).Update(ctx, now, metav1.UpdateOptions{FieldManager: "kubectl-edit"})
	default:
		_, _ = e.at(k).Create(ctx, drawn, metav1.CreateOptions{FieldManager: "kubectl-create"})
	}
}

// all are the objects that there are.
func (e *exact) all() map[string]*unstructured.Unstructured {
	e.t.Helper()
	all := map[string]*unstructured.Unstructured{}
	e.each(func(k drawn, name string) {
		o, err := e.at(k).Get(e.t.Context(), name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			e.t.Fatal(err)
		default:
			all[e.key(k, name)] = o
		}
	})
	return all
}

func (e *exact) key(k drawn, name string) string {
	return bundle.Key{Group: k.at.Group, Kind: k.kind, Namespace: e.namespace, Name: name}.String()
}

func (e *exact) keyOf(object string) string {
	var o unstructured.Unstructured
	if err := o.UnmarshalJSON([]byte(object)); err != nil {
		e.t.Fatal(err)
	}
	return bundle.Key{Group: o.GroupVersionKind().Group, Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}.String()
}

// hindered are the objects that could not be applied as things are.
func (e *exact) hindered(planned *preview.Preview) map[string]bool {
	hindered := map[string]bool{}
	for _, c := range planned.Changes {
		if c.Problem != "" {
			hindered[c.Object] = true
		}
	}
	return hindered
}

// entriesOf are objects as rendering gives them.
func entriesOf(objects []string) (entries []bundle.Entry) {
	for i, o := range objects {
		entries = append(entries, bundle.Entry{File: fmt.Sprintf("%d.yaml", i), Object: json.RawMessage(o)})
	}
	return entries
}

// plans is what `umbel plan` says: it knows the release that is applied.
func (e *exact) plans(objects []string) *preview.Preview {
	e.t.Helper()
	content, err := preview.Prepare(v1alpha1.PackageKey(e.pkg()), entriesOf(objects))
	if err == nil {
		err = content.Under(rulesOf(e.policy).left).After(entriesOf(e.holds))
	}
	if err != nil {
		e.t.Fatal(err)
	}
	member, err := preview.Open(e.config)
	if err != nil {
		e.t.Fatal(err)
	}
	found, err := member.Of(e.t.Context(), content)
	if err != nil {
		e.t.Fatal(err)
	}
	return found
}

// foresees is what the agent says before its first write, which does not run yet.
func (e *exact) foresees(engine *Engine, a *wire.Assignment) *preview.Preview {
	e.t.Helper()
	u := engine.roster.get(v1alpha1.PackageKey(e.pkg()))
	if o := u.asked(); o.Current != nil {
		current, err := u.folder.Unpack(u.key, o.Current.Digest)
		if err != nil {
			e.t.Fatal(err)
		}
		u.content = current
	}
	if err := u.folder.WriteBlob(a.GetDigest(), e.blobs[a.GetDigest()]); err != nil {
		e.t.Fatal(err)
	}
	next, err := u.folder.Unpack(u.key, a.GetDigest())
	if err != nil {
		e.t.Fatal(err)
	}
	sight, err := e.engine.cast.sight(u.account())
	if err != nil {
		e.t.Fatal(err)
	}
	sight.Forget()
	found, err := u.foresee(e.t.Context(), sight, next)
	if err != nil {
		e.t.Fatal(err)
	}
	u.content = nil
	return found
}

// compares wants what happened to be what was planned: nothing else, and nothing less.
func (e *exact) compares(planned *preview.Preview, before, after map[string]*unstructured.Unstructured) {
	e.t.Helper()
	changes := map[string]preview.Change{}
	for _, c := range planned.Changes {
		changes[c.Object] = c
	}
	for _, key := range slices.Sorted(maps.Keys(merged(before, after, changes))) {
		was, is, c := before[key], after[key], changes[key]
		var happened preview.Change
		switch {
		case was == nil && is != nil:
			happened.Action = preview.Add
		case was != nil && is == nil:
			happened.Action = preview.Delete
		case was != nil && was.GetUID() != is.GetUID():
			happened.Action, happened.Diff = "replace", "it is another object"
		case was != nil:
			diff, err := preview.Difference(was, is)
			if err != nil {
				e.t.Fatal(err)
			}
			if diff != "" {
				happened.Action, happened.Diff = preview.Update, diff
			}
		}
		if c.Action == preview.LetGo && is != nil && (happened.Action == preview.Update || c.Diff == "") {
			happened.Action = preview.LetGo
		}
		if c.Action != happened.Action || c.Diff != happened.Diff {
			e.t.Errorf("%s: planned was %q:\n%s\nand %q happened:\n%s", key, c.Action, c.Diff, happened.Action, happened.Diff)
		}
	}
}

func merged(a, b map[string]*unstructured.Unstructured, c map[string]preview.Change) map[string]bool {
	all := map[string]bool{}
	for _, keys := range [][]string{slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b)), slices.Collect(maps.Keys(c))} {
		for _, key := range keys {
			all[key] = true
		}
	}
	return all
}

// TestAPlanIsWhatHappens: a member has random objects, which others have changed, taken away, or made before us; a random release
// comes. What is different afterwards is to the letter what the plan said, of each object, and a second plan says nothing.
// PLAN_SEEDS="3 4" plays others.
func TestAPlanIsWhatHappens(t *testing.T) {
	for _, text := range strings.Fields(cmp.Or(os.Getenv("PLAN_SEEDS"), "1 2")) {
		t.Run(text, func(t *testing.T) {
			seed, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			e := &exact{station: newStation(t), d: &draw{rand.New(rand.NewPCG(seed, 0))}, policy: &wire.Policy{}}
			e.log = io.Discard
			if e.d.chance(50) {
				e.policy.DriftIgnore = []*wire.DriftIgnore{
					{Kind: "Deployment", Group: "apps", JsonPointers: []string{"/spec/replicas"}},
					{Kind: "ConfigMap", JsonPointers: []string{"/data/a"}},
				}
			}
			if e.d.chance(30) {
				e.policy.DriftMode = wire.Policy_REPORT
			}
			group := e.namespace + ".umbel.test"
			e.things(group)
			e.kinds = draws(group)
			changed := 0
			for i := range 8 {
				changed += e.step(i)
				if t.Failed() {
					t.Fatalf("PLAN_SEEDS=%d plays it again", seed)
				}
			}
			if changed < 20 {
				t.Errorf("%d changes are few", changed)
			}
		})
	}
}

// step is one release, and returns how many objects it changed.
func (e *exact) step(i int) int {
	e.t.Helper()
	e.stop()
	e.each(func(k drawn, name string) {
		if e.d.chance(50) {
			e.meddles(k, name)
		}
	})
	objects, before := e.next(), e.all()
	planned := e.plans(objects)
	for hindered := e.hindered(planned); len(hindered) > 0; hindered = e.hindered(planned) { // by fields that are somebody else's
		objects = slices.DeleteFunc(objects, func(o string) bool { return hindered[e.keyOf(o)] })
		planned = e.plans(objects)
	}
	if len(objects) == 0 {
		return 0 // no release is empty
	}
	release := fmt.Sprintf("r%d", i)
	assigned := treated(e.release(e.pkg(), release, objects...), e.policy)
	engine := e.open()
	e.assign(assigned)
	foreseen := e.foresees(engine, assigned)
	e.agree(planned, foreseen)
	e.run(engine)
	e.reaches(e.pkg(), release, wire.PackageStatus_APPLIED)
	e.compares(foreseen, before, e.all())
	e.holds = objects
	if again := e.plans(objects); len(again.Changes) > 0 || again.Same != len(objects) {
		e.t.Errorf("after release %d another plan says %+v, and %d of %d stay", i, again.Changes, again.Same, len(objects))
	}
	return len(planned.Changes)
}

// agree wants both plans to be the same, but that the agent knows what is let go of what might be deleted.
func (e *exact) agree(planned, foreseen *preview.Preview) {
	e.t.Helper()
	knows := map[string]preview.Change{}
	for _, c := range foreseen.Changes {
		knows[c.Object] = c
	}
	for _, c := range planned.Changes {
		k := knows[c.Object]
		delete(knows, c.Object)
		let := c.Action == preview.Delete && (k.Action == preview.LetGo || k.Action == "" && c.Note != "")
		if (c.Action != k.Action || c.Diff != k.Diff || c.Problem != k.Problem) && !let {
			e.t.Errorf("umbel plan says %+v, and the agent %+v", c, k)
		}
	}
	for _, k := range knows {
		e.t.Errorf("the agent says %+v, and umbel plan nothing", k)
	}
	if planned.Hash() != foreseen.Hash() || !within(foreseen.Deletes(), planned.Deletes()) {
		e.t.Errorf("the agent would refuse the plan %+v, since it says %+v", planned.Changes, foreseen.Changes)
	}
}

// TestWhatIsTakenBack: of a release that changes what others have changed meanwhile, the agent takes back what it had, and leaves them what
// it never had; of what it had and does not want any more they keep what they made. A plan says all that, and a conflict writes nothing.
func TestWhatIsTakenBack(t *testing.T) {
	s := newStation(t)
	e := &exact{station: s, policy: &wire.Policy{}}
	one := s.configMap("a", map[string]string{"had": "1", "dropped": "1", "same": "1"})
	s.start()
	s.assign(s.release(e.pkg(), "one", one))
	s.reaches(e.pkg(), "one", wire.PackageStatus_APPLIED)
	s.stop()
	e.holds = []string{one}
	theirs := map[string]string{"had": "theirs", "dropped": "theirs", "never": "theirs", "same": "1"}
	s.update("a", func(cm *corev1.ConfigMap) { cm.Data = maps.Clone(theirs) })
	goes := func(release, object string) *preview.Preview {
		planned, assigned, engine := e.plans([]string{object}), s.release(e.pkg(), release, object), s.open()
		s.assign(assigned)
		e.agree(planned, e.foresees(engine, assigned))
		s.run(engine)
		return planned
	}

	both := goes("both", s.configMap("a", map[string]string{"had": "2", "never": "2"}))
	if len(both.Changes) != 1 || !strings.Contains(both.Changes[0].Problem, "data.never") {
		t.Errorf("planned is %+v", both.Changes)
	}
	st := s.reaches(e.pkg(), "both", wire.PackageStatus_FAILED)
	if failures := st.GetFailures(); len(failures) != 1 || !strings.Contains(failures[0].GetMessage(), "field .data.never: conflict with \"kubectl-edit\"") {
		t.Errorf("it says %v", failures)
	}
	s.hasData("a", theirs)
	s.stop()

	goes("had", s.configMap("a", map[string]string{"had": "2"}))
	s.reaches(e.pkg(), "had", wire.PackageStatus_APPLIED)
	s.hasData("a", map[string]string{"had": "2", "dropped": "theirs", "never": "theirs"})
}
