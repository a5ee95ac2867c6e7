package prometheus

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"

	"umbel.dev/umbel/internal/metrics/notify"
	"umbel.dev/umbel/internal/metrics/query"
	"umbel.dev/umbel/internal/metrics/rules"
	"umbel.dev/umbel/internal/metrics/settings"
	"umbel.dev/umbel/internal/metrics/store"
	"umbel.dev/umbel/internal/programtest"
)

// told is an alert as an Alertmanager says it.
type told struct {
	Labels       map[string]string
	Annotations  map[string]string
	GeneratorURL string
	Status       struct{ State string }
}

// TestARealAlertmanagerIsTold of an alert when it fires, with what it says and of which fleet it is, and when it does not any more.
func TestARealAlertmanagerIsTold(t *testing.T) {
	address := alertmanager(t)
	quiet := slog.New(slog.DiscardHandler)
	db, err := store.Open(store.Config{Dir: t.TempDir(), Now: time.Now, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	said, err := settings.Read(map[string][]byte{"prometheus.yml": []byte("alerting: {alertmanagers: [{static_configs: [{targets: ['" + address + "']}]}]}")})
	if err != nil {
		t.Fatal(err)
	}
	teller := notify.New(notify.Needs{Fleet: "fleet-1", URL: "https://hub:1", Now: time.Now, Log: quiet})
	if err := teller.Apply(said); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	engine, err := rules.NewEngine(ctx, rules.Needs{Queryable: db.Queryable(), Appendable: db, Engine: query.NewEngine(quiet), Notify: teller.Notify, URL: "https://hub:1", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	go func() { done <- teller.Start(ctx) }()
	go func() { done <- engine.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		db.Close()
	})
	write(t, db, "prod-eu", time.Now(), 2)
	write(t, db, "prod-us", time.Now(), 1)
	if err := engine.Take("umbel-system/own", &rulefmt.RuleGroups{Groups: []rulefmt.RuleGroup{{Name: "own", Interval: model.Duration(time.Second), Rules: []rulefmt.Rule{{
		Alert: "Full", Expr: "node_memory_working_set_bytes > 1", Labels: map[string]string{"severity": "warning"},
		Annotations: map[string]string{"summary": "Cluster {{ $labels.cluster }} is full.", "command": "umbel top nodes"},
	}}}}}); err != nil {
		t.Fatal(err)
	}

	var alerts []told
	await(t, "an alert", func() bool {
		alerts = asks(t, address)
		return len(alerts) > 0
	})
	if len(alerts) != 1 || !strings.HasPrefix(alerts[0].GeneratorURL, "https://hub:1/") {
		t.Fatalf("it was told %+v", alerts)
	}
	alerts[0].GeneratorURL = ""
	want := told{
		Labels:      map[string]string{"alertname": "Full", "cluster": "prod-eu", "fleet": "fleet-1", "instance": "n1", "severity": "warning"},
		Annotations: map[string]string{"summary": "Cluster prod-eu is full.", "command": "umbel top nodes"},
	}
	want.Status.State = alerts[0].Status.State // unprocessed, and then active
	if diff := cmp.Diff(want, alerts[0]); diff != "" {
		t.Errorf("it was told (-want +got):\n%s", diff)
	}
	write(t, db, "prod-eu", time.Now(), 1)
	await(t, "the end of the alert", func() bool { return len(asks(t, address)) == 0 })
}

// asks returns the alerts that an Alertmanager has, and which have not ended.
func asks(t *testing.T, address string) (alerts []told) {
	t.Helper()
	answer, err := http.Get("http://" + address + "/api/v2/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&alerts); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("Alertmanager answers %s: %v", answer.Status, err)
	}
	return alerts
}

// packaged runs an Alertmanager where its templates are where Debian's package has them: that folder is its own, and the machine has none of it.
const packaged = `set -e
mount -t tmpfs none /usr/share
mkdir -p /usr/share/prometheus/alertmanager
for name in default email; do cp "$0-$name.tmpl" "/usr/share/prometheus/alertmanager/$name.tmpl"; done
exec "$0" "$@"`

// alertmanager starts an Alertmanager that tells nobody, and returns its address.
func alertmanager(t *testing.T) string {
	t.Helper()
	program, err := programtest.Path("alertmanager")
	if err != nil {
		t.Fatal(err)
	}
	address := programtest.FreeAddress(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(config, []byte("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	own := []string{"--mount"}
	if os.Geteuid() != 0 {
		own = append(own, "--map-root-user") // who is not root may mount in a namespace of users of their own
	}
	cmd := exec.Command("unshare", append(own, "sh", "-c", packaged, program, "--config.file="+config, "--storage.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--cluster.listen-address=", "--log.level=warn")...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	await(t, "Alertmanager", func() bool {
		answer, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	return address
}
