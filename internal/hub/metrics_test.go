package hub

import (
	"log/slog"
	"os"
	"testing"
)

// TestMetricsThatCannotBeOpened: a hub whose folder of metrics is none does all else, and says so.
func TestMetricsThatCannotBeOpened(t *testing.T) {
	h := &hub{Options: Options{Home: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}}
	if err := os.MkdirAll(Dir(h.Home), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(MetricsDir(h.Home), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.openMetrics(t.Context()); err != nil || h.metrics != nil {
		t.Errorf("got %v, and metrics %v", err, h.metrics)
	}
}
