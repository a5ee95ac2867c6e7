//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"

	"umbel.dev/umbel/test/rig"
)

// networksPage runs the commands of docs/operate/networks.md on a cluster, but for the one that leads it through a proxy that
// is not there: test/net has one.
func (s *story) networksPage(cluster string) {
	s.Helper()
	page, err := os.ReadFile(filepath.Join(rig.Root(), "docs", "operate", "networks.md"))
	if err != nil {
		s.Fatal(err)
	}
	home := strings.NewReplacer("~/.kube/prod-eu.yaml", filepath.Join(s.Home, "local", cluster, "kubeconfig"), "prod-eu", cluster, "~/.umbel", s.Home)
	address, ran := "", 0
	for i, block := range strings.Split(string(page), "```") {
		for line := range strings.Lines(block) {
			if i%2 == 0 || strings.TrimSpace(line) == "" || strings.Contains(line, "proxy.example.com") {
				continue
			}
			line = strings.ReplaceAll(home.Replace(strings.TrimSpace(line)), "ADDRESS", address)
			if strings.HasPrefix(line, "kubectl ") {
				line = "umbel-kube " + line
			}
			out := s.shell(line)
			if strings.Contains(line, "hub-info") {
				address = strings.TrimSpace(out)
			}
			if out == "" && !strings.Contains(line, "umbel join") { // which says on standard error what it does
				s.Errorf("%s prints nothing", line)
			}
			ran++
		}
	}
	if ran < 6 {
		s.Errorf("the page has %d commands", ran)
	}
}
