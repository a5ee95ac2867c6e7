package fields_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/delivery/apply/fields"
)

const (
	deployment = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop","labels":{"umbel.dev/package":"shop.web"},"annotations":{"a.b/c":"x","d":"y"}},
		"spec":{"replicas":3,"selector":{"matchLabels":{"app":"web"}},"template":{"spec":{"containers":[
			{"name":"log","image":"log:1","env":[]},
			{"name":"web","image":"web:1","ports":[{"containerPort":80}],"args":["-a","-b"]}]}}}}`
	owned = `{"f:metadata":{"f:annotations":{"f:a.b/c":{},"f:d":{}},"f:labels":{"f:umbel.dev/package":{}}},
		"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:spec":{"f:containers":{
			"k:{\"name\":\"web\"}":{".":{},"f:name":{},"f:image":{},"f:args":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}},
			"k:{\"name\":\"log\"}":{".":{},"f:name":{},"f:image":{},"f:env":{}}}}}}}`
)

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	object, err := fields.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return object
}

func entry(t *testing.T, text string) fields.Entry {
	t.Helper()
	e, err := fields.ParseEntry([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func pointers(t *testing.T, texts ...string) (all []fields.Pointer) {
	t.Helper()
	for _, text := range texts {
		p, err := fields.ParsePointer(text)
		if err != nil {
			t.Fatal(err)
		}
		if p.String() != text {
			t.Errorf("%q reads as %q", text, p)
		}
		all = append(all, p)
	}
	return all
}

func TestParsePointerRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "has to begin with a slash",
		"spec":                         "has to begin with a slash",
		"/":                            "has to begin with a slash",
		"/spec//x":                     "a part of it is empty",
		"/spec/a~b":                    "a tilde is written ~0",
		"/metadata/name":               "an object is known by that",
		"/kind":                        "an object is known by that",
		"/" + strings.Repeat("x", 600): "is longer than 512 characters",
		"/metadata/labels":             "an object is known by that",
	} {
		if _, err := fields.ParsePointer(text); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestWithout(t *testing.T) {
	object := decode(t, deployment)
	fields.Without(object, pointers(t, "/spec/replicas", "/metadata/annotations/a.b~1c", "/spec/template/spec/containers/0",
		"/spec/template/spec/containers/1/image", "/spec/template/spec/containers/1/args/0", "/spec/nothing/there", "/spec/template/spec/containers/7"))
	want := decode(t, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop","labels":{"umbel.dev/package":"shop.web"},"annotations":{"d":"y"}},
		"spec":{"selector":{"matchLabels":{"app":"web"}},"template":{"spec":{"containers":[{"name":"web","ports":[{"containerPort":80}],"args":["-b"]}]}}}}`)
	if diff := cmp.Diff(want, object); diff != "" {
		t.Error(diff)
	}
}

// A map of which nothing is left goes too: who sends an empty one owns it as one, and could never give up a field of it alone.
func TestWithoutLeavesNothingEmpty(t *testing.T) {
	object := decode(t, `{"data":{"a":"1"},"binaryData":{},"spec":{"x":{"y":{"z":1}},"v":2}}`)
	fields.Without(object, pointers(t, "/data/a", "/binaryData/b", "/spec/x/y/z"))
	entry(t, `{"f:spec":{"f:v":{}}}`).Subtract(object)
	if diff := cmp.Diff(decode(t, `{"binaryData":{}}`), object); diff != "" {
		t.Error(diff)
	}
}

func TestRelease(t *testing.T) {
	for _, tc := range []struct {
		pointer string
		want    string // what is left below the path that is looked at
		gone    []string
		unit    string
		held    bool
	}{
		{pointer: "/spec/replicas", gone: []string{`"f:replicas"`}, held: true},
		{pointer: "/metadata/annotations/a.b~1c", gone: []string{`"f:a.b/c"`}, held: true},
		{pointer: "/spec/template/spec/containers/1/image", gone: []string{`"k:{\"name\":\"web\"}":{".":{},"f:args":{},"f:image":{}`}, held: true},
		{pointer: "/spec/template/spec/containers/1/ports/0", gone: []string{"containerPort"}, held: true}, // the server adds a protocol to its keys
		{pointer: "/spec/selector/matchLabels/app", unit: "/spec/selector"},
		{pointer: "/spec/paused"},
		{pointer: "/spec/template/spec/containers/0/env/0"}, // an empty list is nothing that the API takes as one
		{pointer: "/spec/template/spec/containers/9/image"},
	} {
		t.Run(tc.pointer, func(t *testing.T) {
			e := entry(t, owned)
			released, unit := e.Release(decode(t, deployment), pointers(t, tc.pointer)[0])
			if released != tc.held || unit.String() != tc.unit {
				t.Errorf("got %v and unit %q, want %v and %q", released, unit, tc.held, tc.unit)
			}
			raw, err := e.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range tc.gone {
				if strings.Contains(string(raw), text) {
					t.Errorf("%s is still owned: %s", text, raw)
				}
			}
			if strings.Contains(string(raw), `"f:ports":{}`) {
				t.Errorf("all ports are owned now: %s", raw)
			}
		})
	}
}

func TestSubtract(t *testing.T) {
	object := decode(t, deployment)
	entry(t, `{"f:metadata":{"f:name":{},"f:annotations":{"f:d":{}}},"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{"f:image":{}},
		"k:{\"name\":\"log\"}":{".":{},"f:name":{},"f:image":{},"f:env":{}}}}}}}`).Subtract(object)
	want := decode(t, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop","labels":{"umbel.dev/package":"shop.web"},"annotations":{"a.b/c":"x"}},
		"spec":{"selector":{"matchLabels":{"app":"web"}},"template":{"spec":{"containers":[{"name":"web","ports":[{"containerPort":80}],"args":["-a","-b"]}]}}}}`)
	if diff := cmp.Diff(want, object); diff != "" {
		t.Error(diff)
	}
}

func TestLost(t *testing.T) {
	object := decode(t, deployment)
	if lost := entry(t, owned).Lost(object); len(lost) > 0 {
		t.Errorf("nothing is lost of what is owned, got %v", lost)
	}
	e := entry(t, owned)
	for _, p := range pointers(t, "/spec/replicas", "/spec/template/spec/containers/1/image", "/metadata/annotations/a.b~1c") {
		e.Release(object, p)
	}
	want := []string{"metadata.annotations[a.b/c]", "spec.replicas", "spec.template.spec.containers[name=web].image"}
	if diff := cmp.Diff(want, e.Lost(object)); diff != "" {
		t.Error(diff)
	}
	theirs := entry(t, `{"f:spec":{"f:replicas":{}}}`)
	if !theirs.Owns(object, "spec.replicas") || theirs.Owns(object, "spec.template.spec.containers[name=web].image") {
		t.Error("who set the replicas owns the replicas, and nothing else")
	}
}

// FuzzPointer: whatever the pointer and the object, nothing panics; what is taken out is gone, what an object is known by
// stays, and taking out again changes nothing.
func FuzzPointer(f *testing.F) {
	for _, p := range []string{"/spec/replicas", "/metadata/annotations/a.b~1c", "/spec/template/spec/containers/0/image", "/a/-1", "/~0~1"} {
		f.Add(p, deployment, owned)
	}
	f.Add("/a/0", `{"a":[[1,2],[{"b":null}]],"metadata":{"name":"x"}}`, `{"f:a":{"i:0":{},"v:1":{},"k:{}":{},"k:{\"b\":":{}}}`)
	f.Fuzz(func(t *testing.T, text, body, managed string) {
		p, err := fields.ParsePointer(text)
		if err != nil {
			return
		}
		object, err := fields.Decode([]byte(body))
		if err != nil {
			return
		}
		if e, err := fields.ParseEntry([]byte(managed)); err == nil {
			e.Lost(object)
			if released, _ := e.Release(object, p); released {
				if again, _ := e.Release(object, p); again {
					t.Errorf("%s was given up twice", p)
				}
			}
			copied, _ := fields.Decode([]byte(body))
			known := identityOf(copied)
			e.Subtract(copied)
			if diff := cmp.Diff(known, identityOf(copied)); diff != "" {
				t.Error(diff)
			}
		}
		known := identityOf(object)
		fields.Without(object, []fields.Pointer{p})
		if diff := cmp.Diff(known, identityOf(object)); diff != "" {
			t.Error(diff)
		}
		if _, err := fields.Encode(object); err != nil {
			t.Errorf("it cannot be written: %v", err)
		}
	})
}

// identityOf is what an object is known by, as JSON.
func identityOf(object map[string]any) string {
	metadata, _ := object["metadata"].(map[string]any)
	raw, _ := json.Marshal([]any{object["apiVersion"], object["kind"], metadata["name"], metadata["namespace"]})
	return string(raw)
}
