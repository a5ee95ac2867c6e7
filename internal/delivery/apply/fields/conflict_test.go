package fields_test

import (
	"testing"

	"umbel.dev/umbel/internal/delivery/apply/fields"
)

func TestHas(t *testing.T) {
	object := decode(t, `{"metadata":{"annotations":{"a.b/c":"x","a":{"b/c":{"d":1}},"q[0]":"y"}},"spec":{"replicas":3,"on":true,"set":["a","b]","c\"d"],"numbers":[1,2],
		"ports":[{"containerPort":80,"name":"web"},{"containerPort":80,"protocol":"UDP"}],"containers":[{"name":"a,b]=","image":"x","env":[{"name":"E","value":"1"}]}]}}`)
	for path, want := range map[string]bool{
		".spec.replicas": true, ".spec.on": true, ".spec": true, "": true, ".spec.replica": false, ".spec.replicas.more": false, ".nothing": false,
		".metadata.annotations.a.b/c": true, ".metadata.annotations.a.b/c.d": true, ".metadata.annotations.a.b": false, ".metadata.annotations.q[0]": true,
		`.spec.set[="a"]`: true, `.spec.set[="b]"]`: true, `.spec.set[="c\"d"]`: true, `.spec.set[="z"]`: false, `.spec.numbers[=2]`: true, `.spec.numbers[1]`: true, `.spec.numbers[7]`: false,
		`.spec.ports[containerPort=80,protocol="TCP"].name`: true, `.spec.ports[containerPort=80,protocol="UDP"].protocol`: true, `.spec.ports[containerPort=81,protocol="TCP"].name`: false,
		`.spec.ports[protocol="TCP"]`:          false,
		`.spec.containers[name="a,b]="].image`: true, `.spec.containers[name="a,b]="].env[name="E"].value`: true, `.spec.containers[name="a"].image`: false,
		`.spec.containers[name="a`: false, `.spec.containers[`: false, `.spec.containers[]`: false, `.spec.containers[name`: false, `.spec.containers[name=`: false,
	} {
		if got := fields.Has(object, path); got != want {
			t.Errorf("%s: got %v", path, got)
		}
	}
}

func TestEntryHas(t *testing.T) {
	e := entry(t, owned)
	for path, want := range map[string]bool{
		".spec.replicas": true, ".spec.selector": true, ".spec.selector.matchLabels": false, ".spec": false, ".spec.paused": false, "": false,
		".metadata.annotations.a.b/c": true, ".metadata.annotations.a": false,
		`.spec.template.spec.containers[name="web"].image`: true, `.spec.template.spec.containers[name="web"]`: true, `.spec.template.spec.containers[name="log"].ports`: false,
		`.spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"].containerPort`: true,
		`.spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="UDP"].containerPort`: false,
	} {
		if got := e.Has(path); got != want {
			t.Errorf("%s: got %v", path, got)
		}
	}
	if e := entry(t, `{"f:set":{"v:\"a\"":{},"v:1000000":{}},"f:list":{"i:1":{}}}`); !e.Has(`.set[="a"]`) || !e.Has(".set[=1000000]") || !e.Has(".list[1]") || e.Has(`.set[="b"]`) {
		t.Error("items of a set are not found")
	}
}

// FuzzHas: whatever a server writes, nothing panics.
func FuzzHas(f *testing.F) {
	for _, path := range []string{`.spec.containers[name="web"].image`, `.spec.set[="a"]`, `.spec.numbers[1]`, `.a[b=1,c="\"]"]`} {
		f.Add(path, deployment)
	}
	f.Fuzz(func(t *testing.T, path, body string) {
		if object, err := fields.Decode([]byte(body)); err == nil {
			fields.Has(object, path)
			fields.Entry(object).Has(path)
		}
	})
}
