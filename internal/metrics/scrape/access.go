package scrape

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/internal/metrics/edge"
)

// vault reads Secrets and ConfigMaps that monitors name, and asks for tokens, each once for all pods that are asked together. It is safe for concurrent use.
type vault struct {
	client kubernetes.Interface
	tokens *tokens // those that were asked for before

	read  once[map[string][]byte]
	asked once[string]
}

// keys returns what an object has.
func (v *vault) keys(ctx context.Context, kind, namespace, name string) (map[string][]byte, error) {
	return v.read.get(ctx, kind+" "+namespace+"/"+name, func(ctx context.Context) (map[string][]byte, error) { return v.get(ctx, kind, namespace, name) })
}

func (v *vault) get(ctx context.Context, kind, namespace, name string) (map[string][]byte, error) {
	if kind == "Secret" {
		secret, err := v.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		return secret.Data, nil
	}
	m, err := v.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	keys := m.BinaryData
	if keys == nil {
		keys = map[string][]byte{}
	}
	for key, text := range m.Data {
		keys[key] = []byte(text)
	}
	return keys, nil
}

// value returns what a field of a monitor names; nothing where it may be missing, and is.
func (v *vault) value(ctx context.Context, a *edge.Access, field, kind string, k *edge.Key) ([]byte, error) {
	if k == nil || k.Name == "" && k.Key == "" {
		return nil, nil
	}
	keys, err := v.keys(ctx, kind, a.Namespace, k.Name)
	if k.Optional && apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: reading %s %s/%s: %w", a.Of, field, kind, a.Namespace, k.Name, err)
	}
	value, is := keys[k.Key]
	if !is && !k.Optional {
		return nil, fmt.Errorf("%s: %s: %s %s/%s has no key %q", a.Of, field, kind, a.Namespace, k.Name, k.Key)
	}
	return value, nil
}

// authorization is what a pod is shown in the header of that name; empty when nothing is.
func (v *vault) authorization(ctx context.Context, a *edge.Access) (string, error) {
	switch {
	case a.BasicAuth != nil:
		user, err := v.value(ctx, a, "basicAuth.username", "Secret", &a.BasicAuth.Username)
		if err != nil {
			return "", err
		}
		password, err := v.value(ctx, a, "basicAuth.password", "Secret", &a.BasicAuth.Password)
		return "Basic " + base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s:%s", user, password)), err
	case a.OAuth2 != nil:
		return v.token(ctx, a)
	case a.Authorization != nil:
		kind := strings.TrimSpace(a.Authorization.Type)
		if kind == "" {
			kind = "Bearer"
		}
		token, err := v.value(ctx, a, "authorization.credentials", "Secret", &a.Authorization.Credentials)
		if len(token) == 0 {
			return "", err
		}
		return kind + " " + strings.TrimSpace(string(token)), err
	}
	token, err := v.value(ctx, a, "bearerTokenSecret", "Secret", a.BearerTokenSecret)
	if len(token) == 0 {
		return "", err
	}
	return "Bearer " + strings.TrimSpace(string(token)), nil
}

// versions are those of TLS, as monitors name them.
var versions = map[string]uint16{"TLS10": tls.VersionTLS10, "TLS11": tls.VersionTLS11, "TLS12": tls.VersionTLS12, "TLS13": tls.VersionTLS13}

// tls returns by what a pod is known, and known to the pod, as a field of its monitor says; or who else is asked.
func (v *vault) tls(ctx context.Context, a *edge.Access, field string, said *edge.TLS) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if said == nil {
		return c, nil
	}
	c.ServerName, c.InsecureSkipVerify = said.ServerName, said.InsecureSkipVerify
	if said.MinVersion != "" {
		c.MinVersion = versions[said.MinVersion]
	}
	c.MaxVersion = versions[said.MaxVersion]
	ca, err := v.source(ctx, a, field+".ca", said.CA)
	if err != nil {
		return nil, err
	}
	if len(ca) > 0 {
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("%s: %s.ca: there is no certificate in it", a.Of, field)
		}
	}
	certificate, err := v.source(ctx, a, field+".cert", said.Cert)
	if err != nil {
		return nil, err
	}
	key, err := v.value(ctx, a, field+".keySecret", "Secret", said.KeySecret)
	if err != nil || len(certificate) == 0 && len(key) == 0 {
		return c, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil { // the error may quote what is secret
		return nil, fmt.Errorf("%s: %s.cert and %s.keySecret: %w", a.Of, field, field, errPair)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

var errPair = errors.New("they are no certificate and its key, in PEM")

func (v *vault) source(ctx context.Context, a *edge.Access, field string, from edge.Source) ([]byte, error) {
	if from.Secret != nil {
		return v.value(ctx, a, field+".secret", "Secret", from.Secret)
	}
	return v.value(ctx, a, field+".configMap", "ConfigMap", from.ConfigMap)
}
