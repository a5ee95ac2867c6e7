package outgoing

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/delivery/bundle"
)

func TestWhatIsSent(t *testing.T) {
	const labels = `"labels":{"umbel.dev/package":"shop.web"}`
	for name, c := range map[string]struct{ object, body, wrong string }{
		"a ConfigMap": {
			object: `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"n":"1"},"stringData":{"x":"1"}}`,
			body:   `{"apiVersion":"v1","data":{"n":"1"},"kind":"ConfigMap","metadata":{` + labels + `,"name":"a"},"stringData":{"x":"1"}}`,
		},
		"what stands in stringData wins, as it does on the server": {
			object: `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"data":{"x":"YQ==","y":"Yg=="},"stringData":{"x":"c","none":null}}`,
			body:   `{"apiVersion":"v1","data":{"none":"","x":"Yw==","y":"Yg=="},"kind":"Secret","metadata":{` + labels + `,"name":"a"}}`,
		},
		"no data": {
			object: `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"data":null,"stringData":{"x":"c"}}`,
			body:   `{"apiVersion":"v1","data":{"x":"Yw=="},"kind":"Secret","metadata":{` + labels + `,"name":"a"}}`,
		},
		"what the server refuses is its own to refuse": {
			object: `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"data":"text","stringData":{"x":"c"}}`,
			body:   `{"apiVersion":"v1","data":"text","kind":"Secret","metadata":{` + labels + `,"name":"a"},"stringData":{"x":"c"}}`,
		},
		"but in words that may quote a value": {
			object: `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"stringData":{"x":4711}}`,
			body:   `{"apiVersion":"v1","kind":"Secret","metadata":{` + labels + `,"name":"a"},"stringData":{"x":4711}}`,
			wrong:  "stringData.x: is not a string: put it in quotes",
		},
		"it asks for what there is not": {
			object: `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","annotations":{"umbel.dev/depends-on":"ConfigMap b"}}}`,
			body:   `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"annotations":{"umbel.dev/depends-on":"ConfigMap b"},` + labels + `,"name":"a"}}`,
			wrong:  "it depends on ConfigMap b, which is not in this package: an order can be kept among the objects of one package only",
		},
	} {
		t.Run(name, func(t *testing.T) {
			sent, err := All("shop/web", []bundle.Entry{{File: "a.yaml", Object: json.RawMessage(c.object)}})
			if err != nil {
				t.Fatal(err)
			}
			wrong := ""
			if sent[0].Wrong != nil {
				wrong = sent[0].Wrong.Error()
			}
			if diff := cmp.Diff(c.body, string(sent[0].Body)); diff != "" || wrong != c.wrong {
				t.Errorf("wrong is %q, want %q; it (-want +got):\n%s", wrong, c.wrong, diff)
			}
		})
	}
	asks := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","annotations":{"umbel.dev/take-over":"true"}}}`
	if sent, err := All("shop/web", []bundle.Entry{{Object: json.RawMessage(asks)}}); err != nil || !sent[0].TakeOver {
		t.Errorf("it asks for its fields: %+v, %v", sent, err)
	}
	if _, err := All("shop/web", []bundle.Entry{{File: "a.yaml", Object: json.RawMessage(`{"apiVersion":"v1","kind":"ConfigMap"}`)}}); err == nil {
		t.Error("what has no name is taken")
	}
}
