//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"

	"umbel.dev/umbel/test/rig"
)

// manyClusters runs the commands of docs/operate/one-repository.md, and looks for what the page says of them.
func manyClusters(s *story) {
	page, err := os.ReadFile(filepath.Join(rig.Root(), "docs", "operate", "one-repository.md"))
	if err != nil {
		s.Fatal(err)
	}
	var commands []string
	for i, part := range strings.Split(string(page), "```\n") {
		if i%2 == 1 {
			commands = append(commands, strings.ReplaceAll(part, "~/.umbel", s.Home))
		}
	}
	if len(commands) != 2 {
		s.Fatalf("the page has %d blocks of commands, want 2", len(commands))
	}
	s.shell(commands[0])
	s.holds("dev", "default", "web", "workers", "1")
	s.holds("dev", "default", "web", "tier", "standard")
	s.holds("prod-eu", "default", "web", "workers", "8")
	s.holds("prod-eu", "default", "web", "cluster", "prod-eu")
	s.holds("prod-eu", "default", "audit", "level", "full")
	s.holds("prod-eu", "default", "tls", "mode", "strict")
	for _, name := range []string{"audit", "tls"} {
		s.lacks("dev", "default", name)
	}
	s.shell(commands[1])
	s.holds("dev", "default", "web", "tier", "gold")
	s.umbel("label", "cluster", "dev", "tier-")
	s.holds("dev", "default", "web", "tier", "standard")
	s.deletePackage("many")
	s.lacks("dev", "default", "web")
}
