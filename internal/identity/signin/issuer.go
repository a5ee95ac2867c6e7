package signin

import "k8s.io/apiserver/pkg/apis/apiserver"

// LoginPath is where the gateway says which issuers there are, to everybody: a Login as JSON.
const LoginPath = "/v1/login"

// Login is what a program needs to know before it can sign somebody in.
type Login struct {
	Issuers []Issuer `json:"issuers"`
	// CA is what the hub itself is known by, PEM. Whoever did not know it before checks it by other means.
	CA string `json:"ca,omitempty"`
}

// Issuer is an identity provider, as programs that sign people in see it.
type Issuer struct {
	// URL is what tokens name; DiscoveryURL is where it is described, when that is not below URL.
	URL          string `json:"url"`
	DiscoveryURL string `json:"discoveryURL,omitempty"`
	// ClientID is the audience that the hub wants tokens for: the first of those in its configuration.
	ClientID string `json:"clientID"`
	// CA (PEM) is what the provider is known by. Empty means that the computer's own authorities know it.
	CA string `json:"ca,omitempty"`
}

func issuersOf(config *apiserver.AuthenticationConfiguration) []Issuer {
	issuers := []Issuer{}
	for _, jwt := range config.JWT {
		issuers = append(issuers, Issuer{
			URL: jwt.Issuer.URL, DiscoveryURL: jwt.Issuer.DiscoveryURL, ClientID: jwt.Issuer.Audiences[0], CA: jwt.Issuer.CertificateAuthority,
		})
	}
	return issuers
}
