package origin

import (
	"testing"

	"umbel.dev/umbel/internal/delivery/bundle"
)

// A manifest is taken from an annotation for the object that has it, and for no other.
func TestIsOf(t *testing.T) {
	key := bundle.Key{Kind: "ConfigMap", Namespace: "shop", Name: "a"}
	for manifest, want := range map[string]bool{
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"shop"}}`:                   true,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`:                                      true,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b","namespace":"shop"}}`:                   false,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"kube-system"}}`:            false,
		`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","namespace":"shop"}}`:                      false,
		`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"a"}}`:   false,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x/../../../../etc/y","namespace":"shop"}}`: false,
		`{`: false,
	} {
		if got := isOf(manifest, key); got != want {
			t.Errorf("%s: %v", manifest, got)
		}
	}
}

// TestAsWritten: the empty annotations that kubectl adds go, those that somebody wrote stay, and so does each digit.
func TestAsWritten(t *testing.T) {
	for applied, want := range map[string]string{
		`{"apiVersion":"v1","kind":"A","metadata":{"annotations":{},"name":"a"},"spec":{"n":12345678901234567890}}`: `{"apiVersion":"v1","kind":"A","metadata":{"name":"a"},"spec":{"n":12345678901234567890}}`,
		`{"metadata":{"annotations":{"a":"b"}}}`: `{"metadata":{"annotations":{"a":"b"}}}`,
		`{"kind":"A"}`:                           `{"kind":"A"}`,
	} {
		got, err := asWritten(applied)
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	if _, err := asWritten("{"); err == nil {
		t.Error("half a manifest was taken")
	}
}
