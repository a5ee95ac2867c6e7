package enrol

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/template"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/identity"
)

// Agent is what is installed on a member.
type Agent struct {
	Boot v1alpha1.Bootstrap
	// Image of the agent; empty when it does not run as a pod.
	Image string
	// StorageClass of the volume for the agent's state; empty for a folder of its node.
	StorageClass string
	// AuditLog names the audit logs of the API servers on the agent's node; empty when it reads none.
	AuditLog AuditLog
	// Level says what the agent, and the hub's administrators, may do there; empty is attached.
	Level v1alpha1.Level
}

// OtherRights are what was given with another level than this one, and is to be taken back.
func OtherRights(level v1alpha1.Level) []client.Object {
	other := []string{"umbel-hub-observers", "umbel-hub-observers-cluster"}
	if level == v1alpha1.LevelObserved {
		other = []string{"umbel-hub-admins"}
	}
	var bindings []client.Object
	for _, name := range other {
		bindings = append(bindings, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	return bindings
}

// Manifests returns what is installed on a member, in the order in which it is applied. Without an image there is no
// Deployment.
func (a Agent) Manifests() ([]*unstructured.Unstructured, error) {
	raw, err := json.Marshal(a.Boot)
	if err != nil {
		return nil, err
	}
	quote := func(v any) (string, error) {
		quoted, err := json.Marshal(v)
		return string(quoted), err
	}
	tmpl, err := template.New("agent.yaml").Funcs(template.FuncMap{"json": quote}).Parse(deploy.Agent)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := tmpl.Execute(&text, map[string]any{
		"AdminGroup": v1alpha1.AdminGroup, "Bootstrap": string(raw), "BootstrapSum": identity.HashToken(string(raw)),
		"Image": a.Image, "StorageClass": a.StorageClass,
		"AuditDir": a.AuditLog.dir(), "AuditMount": auditMount, "AuditArg": a.AuditLog.arg(), "Audit": string(a.AuditLog),
		"Observed": a.Level == v1alpha1.LevelObserved,
	}); err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(&text, 4096); ; {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(&o.Object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading deploy/agent.yaml: %w", err)
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
}

// HubInfo reads how members reach the hub, and the image of its agent.
func HubInfo(ctx context.Context, hub client.Reader) (v1alpha1.Bootstrap, string, error) {
	var info corev1.ConfigMap
	err := hub.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, &info)
	if apierrors.IsNotFound(err) {
		return v1alpha1.Bootstrap{}, "", errors.New("the hub has not said yet how members reach it: is `umbel hub` running?")
	}
	if err != nil {
		return v1alpha1.Bootstrap{}, "", err
	}
	return v1alpha1.Bootstrap{Address: info.Data[v1alpha1.HubInfoAddress], CA: info.Data[v1alpha1.HubInfoCA]}, info.Data[v1alpha1.HubInfoAgentImage], nil
}

// tokenLife is how long the agent has to present its token.
const tokenLife = time.Hour

// Token returns the one-time token of a cluster and keeps its hash on the hub. One that the cluster was given before and
// that has not been used is given again: an agent that has it need not be started anew.
func Token(ctx context.Context, hub client.Client, cluster v1alpha1.ClusterName, given string, now time.Time) (string, error) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret(cluster)}}
	err := hub.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	if err != nil && !apierrors.IsNotFound(err) {
		return "", err
	}
	token := given
	if err != nil || !identity.TokenMatches(given, string(secret.Data[v1alpha1.JoinTokenHash])) {
		if token, err = identity.NewToken(); err != nil {
			return "", err
		}
	}
	if err := client.IgnoreNotFound(hub.Delete(ctx, secret)); err != nil {
		return "", fmt.Errorf("taking back the join token of before: %w", err)
	}
	return token, hub.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: secret.Namespace, Name: secret.Name},
		Type:       v1alpha1.JoinTokenType,
		StringData: map[string]string{
			v1alpha1.JoinTokenHash:    identity.HashToken(token),
			v1alpha1.JoinTokenExpires: now.Add(tokenLife).UTC().Format(time.RFC3339),
		},
	})
}
