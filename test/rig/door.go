package rig

import (
	"crypto/tls"
	"net/http"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"umbel.dev/umbel/internal/hub"
)

// Door returns how the fleet's administrator asks at the hub's door, and its URL.
func (f *Fleet) Door() (web *http.Client, url string, err error) {
	state, err := hub.ReadState(f.Home)
	if err != nil {
		return nil, "", err
	}
	config, err := clientcmd.BuildConfigFromFlags("", hub.AdminKubeconfig(f.Home))
	if err != nil {
		return nil, "", err
	}
	config.CAData, config.CAFile = nil, state.CAFile
	secure, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, "", err
	}
	secure.MinVersion = tls.VersionTLS13
	return &http.Client{Transport: &http.Transport{TLSClientConfig: secure}}, "https://" + state.Address, nil
}
