package v1alpha1

import "testing"

func TestNumbersAgree(t *testing.T) {
	for want, got := range map[string]string{
		"0 objects": Counted(0, "object"), "1 object": Counted(int32(1), "object"), "2 objects": Counted(uint32(2), "object"), "1 waits": "1 " + Agreeing(1, "waits", "wait"),
		"0 wait": "0 " + Agreeing(int64(0), "waits", "wait"),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
