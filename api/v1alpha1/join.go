package v1alpha1

// What `umbel join` and the hub leave for each other in SystemNamespace of the hub.
const (
	// HubInfoConfigMap says how members reach the hub. The hub writes it.
	HubInfoConfigMap = "hub-info"
	// HubInfoAddress is its key for HOST:PORT of the gateway.
	HubInfoAddress = "address"
	// HubInfoCA is its key for the gateway's certificate authority, PEM.
	HubInfoCA = "ca"
	// HubInfoAgentImage is its key for the agent's image, by digest or tag.
	HubInfoAgentImage = "agentImage"

	// JoinTokenType is the type of the Secret of a join token.
	JoinTokenType = "umbel.dev/join-token"
	// JoinTokenHash is its key for the SHA-256 of the token, in hex. The token itself is never kept.
	JoinTokenHash = "tokenHash"
	// JoinTokenExpires is its key for the token's last moment, RFC 3339.
	JoinTokenExpires = "expires"
)

// JoinTokenSecret is the name of the Secret of a cluster's join token.
func JoinTokenSecret(cluster ClusterName) string { return "join-" + string(cluster) }

// Bootstrap is what an agent is given to find its hub, as JSON.
// +kubebuilder:object:generate=false
type Bootstrap struct {
	// Cluster is the name of the member. It is empty in a manifest for many clusters: the agent then takes SelfName.
	Cluster ClusterName `json:"cluster"`
	// Address of the hub's gateway, HOST:PORT.
	Address string `json:"address"`
	// CA is the certificate authority of the gateway, PEM.
	CA string `json:"ca"`
	// Token is presented for the first certificate: one of `umbel join`, or of `umbel token create`.
	Token string `json:"token"`
	// Proxy is the URL of the HTTP proxy by which the agent reaches the hub, with name and password if it wants them. Empty
	// means that the agent's environment says it (HTTPS_PROXY, NO_PROXY).
	Proxy string `json:"proxy,omitempty"`
}
