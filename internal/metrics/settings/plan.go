package settings

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v3"
)

const (
	// Secret is its name, in the hub's own namespace.
	Secret = "umbel-metrics"
	// prometheusKey and webhooksKey are its keys.
	prometheusKey, webhooksKey, backendKey = "prometheus.yml", "webhooks", "backend.yml"
)

// Settings are what is said.
type Settings struct {
	// Prometheus is the configuration; without the key it is Prometheus' defaults.
	Prometheus *config.Config
	// Webhooks are URLs that are told of alerts.
	Webhooks []string
	// Backend answers queries in the hub's place; nil when the hub does.
	Backend *Backend
}

// Backend is a store that answers Prometheus' HTTP API.
type Backend struct {
	// URL is what /api/v1/ follows there.
	URL string `yaml:"url"`
	// Headers are sent with each request.
	Headers map[string]string `yaml:"headers,omitempty"`
	// HTTPClientConfig are credentials and TLS, as everywhere in Prometheus' configuration.
	HTTPClientConfig promconfig.HTTPClientConfig `yaml:",inline"`
}

// sections are those of Prometheus' configuration that count here.
var sections = []string{"global", "alerting", "remote_write"}

// Read reads the data of the Secret. Who names nothing says that nobody is told.
func Read(data map[string][]byte) (*Settings, error) {
	for key := range data {
		if key != prometheusKey && key != webhooksKey && key != backendKey {
			return nil, fmt.Errorf("%s is no key of it: it has %s, %s and %s", key, prometheusKey, webhooksKey, backendKey)
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
	if s.Backend, err = backend(data[backendKey]); err != nil {
		return nil, fmt.Errorf("%s: %s", backendKey, strings.ReplaceAll(err.Error(), "\n", " "))
	}
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

// backend reads who answers queries; nil when nobody is named.
func backend(text []byte) (*Backend, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	if field := file("", tree); field != "" {
		return nil, fmt.Errorf("%s names a file, and the hub reads none: put what is in it into the Secret", field)
	}
	b := &Backend{HTTPClientConfig: promconfig.DefaultHTTPClientConfig}
	read := yaml.NewDecoder(bytes.NewReader(text))
	read.KnownFields(true)
	if err := read.Decode(b); err != nil {
		return nil, err
	}
	if err := web(b.URL); err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	return b, b.HTTPClientConfig.Validate()
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
