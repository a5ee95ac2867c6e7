package profile

import (
	"strings"

	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	inventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
)

// access is the way to the member through the hub. It names no credential: a consumer brings its own, of the hub.
func access(name string, door Door) []inventory.AccessProvider {
	if door.Address == "" {
		return nil
	}
	return []inventory.AccessProvider{{Name: AccessProvider, Cluster: clientcmdv1.Cluster{
		Server: "https://" + door.Address + "/clusters/" + name, CertificateAuthorityData: []byte(strings.TrimSpace(door.CA) + "\n"),
	}}}
}
