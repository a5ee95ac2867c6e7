package helm

import (
	"slices"
	"testing"

	"umbel.dev/umbel/internal/delivery/source"
)

// FuzzIndex: whatever a repository sends as its index, the version that is chosen is one that it names, or none.
func FuzzIndex(f *testing.F) {
	f.Add("apiVersion: v1\nentries:\n  shop:\n  - {version: 1.2.3, digest: ab, urls: [shop-1.2.3.tgz]}\n", "1.x")
	f.Add("entries: {shop: [{version: v1.0.0-rc.1+meta}, {version: ''}, null]}", ">=0.0.0-0")
	f.Add("entries: {shop: {}}", "*")
	f.Add("a: &a [*a]", "1.0.0")
	f.Fuzz(func(t *testing.T, text, allowed string) {
		versions, err := versionsIn([]byte(text), "shop")
		if err != nil {
			return
		}
		names := make([]string, len(versions))
		for i, version := range versions {
			names[i] = version.Version
		}
		if newest, err := source.Newest(names, allowed); err == nil && newest != "" && !slices.Contains(names, newest) {
			t.Errorf("%q of %q", newest, names)
		}
	})
}
