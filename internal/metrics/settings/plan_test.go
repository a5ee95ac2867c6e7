package settings

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	for _, c := range []struct{ reason, yaml, webhooks, problem string }{
		{reason: "nothing: nobody is told"},
		{reason: "an Alertmanager with credentials, and a label for all", yaml: "global: {external_labels: {region: eu}}\nalerting:\n  alertmanagers:\n    - scheme: https\n      basic_auth: {username: hub, password: secret}\n      static_configs: [{targets: ['am:9093']}]\n"},
		{reason: "two webhooks, and an empty line", webhooks: "https://a.example.com/hook?token=t\n\nhttp://b.example.com\n"},
		{reason: "a password in a file", yaml: "alerting:\n  alertmanagers:\n    - basic_auth: {username: hub, password_file: /etc/shadow}\n", problem: "prometheus.yml: alerting.alertmanagers[0].basic_auth.password_file names a file, and the hub reads none"},
		{reason: "a key in a file", yaml: "remote_write:\n  - url: https://a\n    tls_config: {key_file: ca.key}\n", problem: "prometheus.yml: remote_write[0].tls_config.key_file names a file"},
		{reason: "targets in files", yaml: "alerting:\n  alertmanagers:\n    - file_sd_configs: [{files: [a.json]}]\n", problem: "prometheus.yml: alerting.alertmanagers[0].file_sd_configs[0].files names a file"},
		{reason: "a section of another matter", yaml: "scrape_configs: []\n", problem: "prometheus.yml: scrape_configs is no section for a hub: it takes global, alerting, remote_write"},
		{reason: "a field that Prometheus does not know", yaml: "alerting: {alertmanager: []}\n", problem: "field alertmanager not found"},
		{reason: "no YAML", yaml: "a: [", problem: "prometheus.yml: "},
		{reason: "no URL", webhooks: "https://a\nexample.com/secret", problem: "webhooks: line 2: it is no URL that begins with http:// or https://"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			said, err := Read(map[string][]byte{"prometheus.yml": []byte(c.yaml), "webhooks": []byte(c.webhooks)})
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) || strings.Contains(err.Error(), "secret") {
					t.Fatalf("got %v, want %s, and nothing of what is secret", err, c.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n := len(said.Prometheus.AlertingConfig.AlertmanagerConfigs); n != strings.Count(c.yaml, "static_configs") {
				t.Errorf("%d Alertmanagers", n)
			}
			if diff := cmp.Diff(strings.Fields(c.webhooks), append([]string{}, said.Webhooks...)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := Read(map[string][]byte{"prometheus.yaml": nil}); err == nil || !strings.Contains(err.Error(), "prometheus.yaml is no key of it") {
		t.Errorf("a key that is misspelt: %v", err)
	}
}

func TestReadBackend(t *testing.T) {
	for text, problem := range map[string]string{
		"url: https://mimir.example.com/prometheus\nheaders: {X-Scope-OrgID: fleet}\nbasic_auth: {username: hub, password: secret}\n": "",
		"": "", "url: mimir\n": "backend.yml: url: it is no URL", "url: https://a\nbearer_token_file: /etc/shadow\n": "backend.yml: bearer_token_file names a file",
		"url: https://a\nuser: me\n": "backend.yml: yaml: unmarshal errors:   line 2: field user not found",
	} {
		said, err := Read(map[string][]byte{"backend.yml": []byte(text)})
		switch {
		case problem != "":
			if err == nil || !strings.Contains(err.Error(), problem) {
				t.Errorf("%q: got %v, want %s", text, err, problem)
			}
		case err != nil:
			t.Errorf("%q: %v", text, err)
		case text == "" != (said.Backend == nil):
			t.Errorf("%q is %+v", text, said.Backend)
		}
	}
}
