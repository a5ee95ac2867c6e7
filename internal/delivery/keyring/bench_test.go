package keyring

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/sealed"
	"umbel.dev/umbel/internal/delivery/sops/sopstest"
)

// BenchmarkOpen is what a repair of an object costs more that came encrypted: the first time, and when the key of its file is known.
func BenchmarkOpen(b *testing.B) {
	k := New(Needs{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	k.take(stored{v1alpha1.AgeSecret: {"a.agekey": []byte(sopstest.Identity(b).String())}})
	var sources sealed.Sources
	text := sopstest.File(b, "app.yaml")
	if err := sources.Look("app.yaml", text); err != nil {
		b.Fatal(err)
	}
	var object map[string]any
	if err := yaml.Unmarshal(text, &object); err != nil {
		b.Fatal(err)
	}
	if err := sources.Seal(object); err != nil {
		b.Fatal(err)
	}
	raw, err := json.Marshal(object)
	if err != nil {
		b.Fatal(err)
	}
	rest, files, _, err := sealed.Split(raw)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			clear(k.files)
			if _, err := k.Open(b.Context(), rest, files); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			if _, err := k.Open(b.Context(), rest, files); err != nil {
				b.Fatal(err)
			}
		}
	})
}
