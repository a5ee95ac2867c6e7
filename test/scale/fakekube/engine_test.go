package fakekube

import (
	"context"
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/delivery/apply"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// TestEngine holds a package on a fake with the agent's own engine: it is applied, put back when somebody changes it, and
// pruned.
func TestEngine(t *testing.T) {
	writes := make(chan Write, 100)
	s := New(func(w Write) { writes <- w })
	for range len(writes) {
		<-writes
	}
	blob, err := bundle.Encode([]bundle.Entry{{
		File: "web.yaml", Object: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web","namespace":"default"},"data":{"a":"1"}}`),
	}})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := apply.New(apply.Needs{
		Dir: t.TempDir(), Config: s.Config(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: time.Now,
		Fetch: func(context.Context, string, string, int64) ([]byte, error) { return blob, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	err = engine.Store(t.Context(), &wire.DesiredState{Assign: []*wire.Assignment{{
		Package: "default/web", Release: "web-1", Repository: "web", Digest: content.Digest(blob), Size: int64(len(blob)),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	sees(t, writes, "1")
	client := configMaps(t, s)
	if _, err := client.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"data":{"a":"drift"}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
		t.Fatal(err)
	}
	sees(t, writes, "drift")
	sees(t, writes, "1")
	if err := engine.RemoveAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	sees(t, writes, "")
}

// sees takes the next write and checks what the ConfigMap says then; empty means that it is gone.
func sees(t *testing.T, writes <-chan Write, want string) {
	t.Helper()
	select {
	case w := <-writes:
		data := map[string]any{}
		if w.Object != nil {
			data, _ = w.Object.Object["data"].(map[string]any)
		}
		got, _ := data["a"].(string)
		if w.Kind != "ConfigMap" || w.Name != "web" || w.Namespace != corev1.NamespaceDefault || got != want {
			t.Errorf("%s %s/%s says %q, want %q", w.Kind, w.Namespace, w.Name, got, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("nothing was written in a minute, want %q", want)
	}
}
