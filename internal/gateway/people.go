package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// ProxyVerb is what somebody needs on memberclusters/NAME of the hub to reach that member through it.
const ProxyVerb = "proxy"

// people finds out who asks and what they may.
type people struct {
	authenticator authenticator.Request
	authorizer    authorizer.Authorizer
	// clientCA is kept up to date while run runs; nil when it is fixed.
	clientCA *dynamiccertificates.ConfigMapCAController
}

// newPeople asks the hub's API server: TokenReview, SubjectAccessReview, and, unless clientCA (PEM) is given, which CA
// its clients have.
func newPeople(clients kubernetes.Interface, clientCA []byte) (*people, error) {
	p := &people{}
	var provider dynamiccertificates.CAContentProvider
	if len(clientCA) > 0 {
		static, err := dynamiccertificates.NewStaticCAContent("people's client CA", clientCA)
		if err != nil {
			return nil, fmt.Errorf("the client CA that was given: %w", err)
		}
		provider = static
	} else {
		dynamic, err := dynamiccertificates.NewDynamicCAFromConfigMapController(
			"people's client CA", "kube-system", "extension-apiserver-authentication", "client-ca-file", clients)
		if err != nil {
			return nil, fmt.Errorf("finding the client CA of the hub's API: %w", err)
		}
		provider, p.clientCA = dynamic, dynamic
	}
	retry := &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 1.5, Jitter: 0.2, Steps: 4}
	var err error
	p.authenticator, _, err = authenticatorfactory.DelegatingAuthenticatorConfig{
		TokenAccessReviewClient:            clients.AuthenticationV1(),
		TokenAccessReviewTimeout:           10 * time.Second,
		WebhookRetryBackoff:                retry,
		CacheTTL:                           10 * time.Second,
		ClientCertificateCAContentProvider: provider,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("setting up authentication: %w", err)
	}
	p.authorizer, err = authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: clients.AuthorizationV1(),
		AllowCacheTTL:             10 * time.Second,
		DenyCacheTTL:              2 * time.Second,
		WebhookRetryBackoff:       retry,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("setting up authorization: %w", err)
	}
	return p, nil
}

// run keeps the client CA up to date until ctx ends.
func (p *people) run(ctx context.Context) {
	if p.clientCA == nil {
		return
	}
	if err := p.clientCA.RunOnce(ctx); err != nil && ctx.Err() == nil {
		return // Run tries on
	}
	p.clientCA.Run(ctx, 1)
}

// who returns the user of a request, or an error that says why nobody is known.
func (p *people) who(r *http.Request) (user.Info, error) {
	response, ok, err := p.authenticator.AuthenticateRequest(r)
	if err != nil {
		return nil, fmt.Errorf("the hub does not accept these credentials: %w", err)
	}
	if !ok {
		return nil, errors.New("no credentials were presented: a client certificate or a bearer token of the hub's API is needed")
	}
	return response.User, nil
}

// mayReach says whether the user may reach the member through the hub.
func (p *people) mayReach(ctx context.Context, who user.Info, cluster v1alpha1.ClusterName) (bool, error) {
	decision, _, err := p.authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: who, Verb: ProxyVerb, APIGroup: v1alpha1.GroupVersion.Group, APIVersion: v1alpha1.GroupVersion.Version,
		Resource: "memberclusters", Name: string(cluster), ResourceRequest: true,
	})
	return decision == authorizer.DecisionAllow, err
}

// proxy takes a person's request to a member.
func (g *Gateway) proxy(w http.ResponseWriter, r *http.Request, cluster v1alpha1.ClusterName, path string) {
	log := g.Log.With("peer", r.RemoteAddr, "member", cluster, "method", r.Method, "path", path)
	if name, found := kubeproxy.Smuggled(r.Header); found {
		log.Warn("a request to a member was refused", "why", "it carries "+name)
		kubeproxy.WriteError(w, http.StatusForbidden, fmt.Sprintf("%v: remove the header %s (kubectl sends such for --as and --as-group)", kubeproxy.ErrSmuggled, name))
		return
	}
	who, err := g.people.who(r)
	if err != nil {
		log.Warn("a request to a member was refused", "why", err)
		kubeproxy.WriteError(w, http.StatusUnauthorized, err.Error())
		return
	}
	allowed, err := g.people.mayReach(r.Context(), who, cluster)
	if err != nil {
		log.Error("a request to a member was not decided", "user", who.GetName(), "error", err)
		kubeproxy.WriteError(w, http.StatusServiceUnavailable, "the hub cannot decide now whether you may do this; try again")
		return
	}
	if !allowed {
		log.Warn("a request to a member was refused", "user", who.GetName(), "why", "not allowed on the hub")
		kubeproxy.WriteError(w, http.StatusForbidden, fmt.Sprintf(
			"user %q may not reach cluster %q: that takes the verb %q on memberclusters.umbel.dev %q on the hub", who.GetName(), cluster, ProxyVerb, cluster))
		return
	}
	through := g.way(r.Context(), cluster)
	if through == nil {
		kubeproxy.WriteError(w, http.StatusServiceUnavailable, fmt.Sprintf(
			"cluster %q is not connected to the hub; `umbel describe cluster %s` says why", cluster, cluster))
		return
	}
	err = kubeproxy.Forward(w, r, through, kubeproxy.Identity{User: who.GetName(), Groups: who.GetGroups(), Extra: who.GetExtra()}, path)
	if err != nil && r.Context().Err() == nil {
		log.Warn("a request to a member failed", "user", who.GetName(), "error", err)
		kubeproxy.WriteError(w, http.StatusBadGateway, fmt.Sprintf("the connection to cluster %q failed: %v", cluster, err))
	}
}
