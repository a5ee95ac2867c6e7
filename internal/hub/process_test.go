package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLastWords(t *testing.T) {
	const noise = "time=2026-11-29T09:23:20Z level=INFO msg=\"the gateway is open\"\n"
	for what, tc := range map[string]struct{ log, want string }{
		"it said why":         {noise + "umbel: opening the registry: no space left on device\n", "opening the registry: no space left on device"},
		"after a long life":   {strings.Repeat(noise, 1000) + "umbel: the port is taken\n", "the port is taken"},
		"it was killed":       {noise, ""},
		"killed a life later": {"umbel: the port is taken\n" + noise, ""},
		"it said nothing":     {"", ""},
	} {
		t.Run(what, func(t *testing.T) {
			home := t.TempDir()
			if err := os.MkdirAll(filepath.Dir(LogFile(home)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(LogFile(home), []byte(tc.log), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := LastWords(home); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
	if got := LastWords(t.TempDir()); got != "" {
		t.Errorf("of a hub that never ran: %q", got)
	}
}
