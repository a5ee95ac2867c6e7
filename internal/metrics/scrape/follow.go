package scrape

import (
	"net/http"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/metrics/edge"
)

// clientOf returns a client that asks with all rights of the agent, and goes where an answer leads as far as follow lets it. One of client-go follows anybody anywhere, and shows
// its token there.
func clientOf(config *rest.Config, follow func(next *http.Request, before []*http.Request) error) (*kubernetes.Clientset, error) {
	of := rest.CopyConfig(config)
	if of.UserAgent == "" {
		of.UserAgent = rest.DefaultKubernetesUserAgent()
	}
	way, err := rest.TransportFor(of)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfigAndClient(of, &http.Client{Transport: way, Timeout: of.Timeout, CheckRedirect: follow})
}

// nowhere has an answer be the last, whatever it says.
func nowhere(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// leads is how often a pod may lead on, as with other clients.
const leads = 10

// within follows a pod to other paths of its own.
func within(next *http.Request, before []*http.Request) error {
	if len(before) > leads || !edge.Leads(before[0].URL, next.URL) {
		return http.ErrUseLastResponse
	}
	return nil
}

// followed says how far a target is followed.
func followed(t *edge.Target) func(next *http.Request, before []*http.Request) error {
	if t.Reading.Stays {
		return nowhere
	}
	return within
}
