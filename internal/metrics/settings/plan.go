package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v3"
)

const (
	// Secret is its name, in the hub's own namespace.
	Secret = "umbel-metrics"
	// prometheusKey and webhooksKey are its keys.
	prometheusKey, webhooksKey = "prometheus.yml", "webhooks"
)

// Settings are what is said.
type Settings struct {
	// Prometheus is the configuration; without the key it is Prometheus' defaults.
	Prometheus *config.Config
	// Webhooks are URLs that are told of alerts.
	Webhooks []string
}

// sections are those of Prometheus' configuration that count here.
var sections = []string{"global", "alerting", "remote_write"}

// Read reads the data of the Secret. Who names nothing says that nobody is told.
func Read(data map[string][]byte) (*Settings, error) {
	for key := range data {
		if key != prometheusKey && key != webhooksKey {
			return nil, fmt.Errorf("%s is no key of it: it has %s and %s", key, prometheusKey, webhooksKey)
		}
	}
	text := string(data[prometheusKey])
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
		return nil, fmt.Errorf("%s: %w", prometheusKey, err)
	}
	for section := range tree {
		if !slices.Contains(sections, section) {
			return nil, fmt.Errorf("%s: %s is no section for a hub: it takes %s", prometheusKey, section, strings.Join(sections, ", "))
		}
	}
	if field := file("", tree); field != "" {
		return nil, fmt.Errorf("%s: %s names a file, and the hub reads none: put what is in it into the Secret", prometheusKey, field)
	}
	read, err := config.Load(text, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("%s: %s", prometheusKey, strings.ReplaceAll(err.Error(), "\n", " "))
	}
	s := &Settings{Prometheus: read}
	for n, line := range strings.Split(string(data[webhooksKey]), "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := web(line); err != nil { // an URL may have a secret in it
			return nil, fmt.Errorf("%s: line %d: %w", webhooksKey, n+1, err)
		}
		if !slices.Contains(s.Webhooks, line) {
			s.Webhooks = append(s.Webhooks, line)
		}
	}
	return s, nil
}

func web(line string) error {
	at, err := url.Parse(line)
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		return errors.New("it is no URL that begins with http:// or https://")
	}
	return nil
}

// file returns the first field of a tree of YAML that names a file; empty when there is none.
func file(path string, at any) string {
	switch node := at.(type) {
	case map[string]any:
		keys := make([]string, 0, len(node))
		for key := range node {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			field := strings.TrimPrefix(path+"."+key, ".")
			if strings.HasSuffix(key, "_file") || strings.HasSuffix(key, "_files") || key == "files" {
				return field
			}
			if found := file(field, node[key]); found != "" {
				return found
			}
		}
	case []any:
		for i, one := range node {
			if found := file(fmt.Sprintf("%s[%d]", path, i), one); found != "" {
				return found
			}
		}
	}
	return ""
}
