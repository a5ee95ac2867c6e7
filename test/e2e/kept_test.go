//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

// nothingOfMembers: in all that a hub keeps there is no key and no token by which somebody gets into a member, and nothing of what people
// read there through it. That what is kept there is found at all is shown by a key in a Secret of the hub.
func nothingOfMembers(s *story) {
	const text = "what somebody reads in a member"
	s.umbel("kubectl", "prod-eu", "--", "-n", "default", "create", "configmap", "seen", "--from-literal", "text="+text)
	if out := s.umbel("get", "configmaps", "-n", "default", "--clusters", "env=prod", "-o", "yaml"); !strings.Contains(out, text) {
		s.Errorf("of the members' ConfigMaps it says:\n%s", out)
	}
	const planted = "a key in a Secret of the hub"
	sought := map[string][][]byte{"an object of prod-eu": formsOf([]byte(text)), planted: keyForms(s, s.plants())}
	for _, cluster := range everyCluster {
		secret, err := s.clients(cluster).CoreV1().Secrets(v1alpha1.AgentNamespace).Get(s.ctx, identity.MemberSecret, metav1.GetOptions{})
		if err != nil {
			s.Fatal(err)
		}
		sought["the key of the agent of "+cluster] = keyForms(s, secret.Data["key.pem"])
		config, err := s.Member(cluster)
		if err == nil {
			err = rest.LoadTLSFiles(config)
		}
		if err != nil {
			s.Fatal(err)
		}
		sought["the key of the administrator of "+cluster] = keyForms(s, config.KeyData)
	}
	for i, token := range s.agentTokens() {
		sought[fmt.Sprintf("the token of agent %d", i)] = formsOf([]byte(token))
	}
	found := map[string]string{}
	s.eachFile(filepath.Join(s.Home, "hub"), func(string) bool { return false }, func(where string, content []byte) {
		for what, forms := range sought {
			for _, form := range forms {
				if bytes.Contains(content, form) {
					found[what] = where
				}
			}
		}
	})
	if found[planted] == "" {
		s.Error("what the hub keeps was not looked through: a key in one of its Secrets was not found")
	}
	delete(found, planted)
	for what, where := range found {
		s.Errorf("the hub has %s, in %s", what, where)
	}
	s.umbel("kubectl", "prod-eu", "--", "-n", "default", "delete", "configmap", "seen")
	s.onHub("-n default delete secret planted")
}

// plants puts a new key into a Secret of the hub, and returns it.
func (s *story) plants() []byte {
	s.Helper()
	key, err := identity.NewKey()
	if err != nil {
		s.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.Fatal(err)
	}
	file, text := filepath.Join(s.TempDir(), "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		s.Fatal(err)
	}
	s.onHub("-n default create secret generic planted --from-file " + file)
	return text
}

// keyForms are the texts by which a private key is found: its beginning, which is in no certificate, and a line of its PEM.
func keyForms(s *story, text []byte) [][]byte {
	s.Helper()
	block, _ := pem.Decode(text)
	if block == nil || len(block.Bytes) < 48 {
		s.Fatalf("there is no private key in %d bytes", len(text))
	}
	beginning := block.Bytes[:48]
	return append(formsOf(beginning), formsOf([]byte(base64.StdEncoding.EncodeToString(beginning)))...)
}

// agentTokens are the signatures of the tokens with which agents that are pods come to their API servers.
func (s *story) agentTokens() (tokens []string) {
	s.Helper()
	s.eventually("each cluster's agent has a token", func(context.Context) error {
		tokens = nil
		pids, err := s.Processes("umbel-agent", "--dir=/var/lib/umbel-agent")
		if err != nil {
			return err
		}
		for _, pid := range pids {
			raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/var/run/secrets/kubernetes.io/serviceaccount/token", pid))
			if err != nil {
				continue // it ends
			}
			token := strings.TrimSpace(string(raw))
			tokens = append(tokens, token[strings.LastIndexByte(token, '.')+1:])
		}
		if len(tokens) < len(everyCluster) {
			return fmt.Errorf("%d of %d processes have one", len(tokens), len(pids))
		}
		return nil
	})
	return tokens
}
