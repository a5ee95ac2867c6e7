package cluster

import (
	"cmp"
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kube "sigs.k8s.io/controller-runtime/pkg/client"
)

// azureSecretKey is where Cluster API's provider has the secret of an application.
const azureSecretKey = "clientSecret"

// signInAzure reads the application by which a place is reached, and its subscription.
func signInAzure(ctx context.Context, hub kube.Reader, p place) (question, error) {
	key := kube.ObjectKey{Namespace: cmp.Or(p.at("identityRef", "namespace"), p.namespace), Name: p.at("identityRef", "name")}
	identity, err := p.identity(ctx, hub, "AzureClusterIdentity", key)
	if err != nil {
		return nil, err
	}
	if kind := text(identity, "spec", "type"); kind != "ServicePrincipal" {
		return nil, fmt.Errorf("AzureClusterIdentity %s/%s is of type %s, whose credentials are not on the hub", key.Namespace, key.Name, kind)
	}
	secret, _, err := secretOf(ctx, hub, text(identity, "spec", "clientSecret", "namespace"), text(identity, "spec", "clientSecret", "name"), azureSecretKey)
	if err != nil {
		return nil, err
	}
	return question{
		"cloud": p.at("azureEnvironment"), "subscription": p.at("subscriptionID"), "location": p.at("location"),
		"tenant": text(identity, "spec", "tenantID"), "client": text(identity, "spec", "clientID"), "secret": secret[0],
	}, nil
}

// machinesInAzure reads the size of an AzureMachineTemplate's machines.
func machinesInAzure(_ context.Context, _ kube.Reader, template *unstructured.Unstructured, _ string) (question, error) {
	return question{"size": text(template, "spec", "template", "spec", "vmSize")}, nil
}
