package v1alpha1

import "testing"

func TestFew(t *testing.T) {
	names := []ClusterName{"a", "b", "c"}
	for most, want := range map[int]string{1: "a and 2 more", 2: "a, b and 1 more", 3: "a, b, c", 9: "a, b, c"} {
		if got := Few(names, most); got != want {
			t.Errorf("%d at the most: %q, want %q", most, got, want)
		}
	}
	if got := Few([]string(nil), 3); got != "" {
		t.Errorf("of none: %q", got)
	}
}
