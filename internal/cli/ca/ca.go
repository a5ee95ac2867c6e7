// Package ca answers: by which certificate authority do the hub and its members know each other, and how does a person
// change it? It holds `umbel ca status` and `umbel ca rotate`.
//
// Both read and write the ConfigMap umbel-ca in umbel-system of the hub, which holds no key: a rotation is a request there,
// and the hub does the rest. Which members know which authority is counted from the statuses of the MemberClusters.
package ca

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
)

// NewCmd returns the command `umbel ca`.
func NewCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "The certificate authority of the hub and its members",
		Long: "The certificate authority by which the hub and its members know each other: how it stands, and how it is rotated while\n" +
			"every member stays connected.",
	}
	cmd.AddCommand(newStatusCmd(f), newRotateCmd(f))
	return cmd
}

// read returns how things stand, and the ConfigMap that says so.
func read(ctx context.Context, hub kube.Client) (v1alpha1.CAStatus, *corev1.ConfigMap, error) {
	var status v1alpha1.CAStatus
	talk := &corev1.ConfigMap{}
	err := hub.Get(ctx, kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.CAConfigMap}, talk)
	if apierrors.IsNotFound(err) || err == nil && talk.Data[v1alpha1.CAStatusKey] == "" {
		return status, nil, fmt.Errorf("the hub has not said how it stands with its certificate authority (configmap %s/%s): "+
			"is it running, and of this version?", v1alpha1.SystemNamespace, v1alpha1.CAConfigMap)
	}
	if err != nil {
		return status, nil, err
	}
	if err := json.Unmarshal([]byte(talk.Data[v1alpha1.CAStatusKey]), &status); err != nil {
		return status, nil, fmt.Errorf("reading configmap %s/%s: %s: %w", talk.Namespace, talk.Name, v1alpha1.CAStatusKey, err)
	}
	return status, talk, nil
}

// counts are how many members know what.
type counts struct {
	Connected int `json:"connected"`
	// Trusting is how many of the connected ones keep the bundle of today.
	Trusting int `json:"trusting"`
	// Certificates counts all members by the fingerprint of the CA of their certificate.
	Certificates map[string]int `json:"certificates,omitempty"`
	// Behind are the connected ones that do not keep it, Away those that are not connected and do not; both by name.
	Behind []string `json:"behind,omitempty"`
	Away   []string `json:"away,omitempty"`
}

func count(members []v1alpha1.MemberCluster, bundle string) counts {
	c := counts{Certificates: map[string]int{}}
	for _, m := range members {
		id := m.Status.Identity
		if id == nil {
			continue // it has no certificate, and is given the bundle of then with it
		}
		if id.Issuer != "" {
			c.Certificates[id.Issuer]++
		}
		connected, knows := meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionConnected), id.Trust == bundle
		switch {
		case connected && knows:
			c.Connected++
			c.Trusting++
		case connected:
			c.Connected++
			c.Behind = append(c.Behind, m.Name)
		case !knows:
			c.Away = append(c.Away, m.Name)
		}
	}
	return c
}
