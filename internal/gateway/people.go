package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/gateway/lobby"
	"umbel.dev/umbel/internal/identity/signin"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// ProxyVerb is what somebody needs on memberclusters/NAME of the hub to reach that member through it.
const ProxyVerb = "proxy"

// people finds out who asks and what they may.
type people struct {
	authenticator authenticator.Request
	// reviewer knows people by the word of the hub's API. failures are the tokens that it was asked about in vain, by address;
	// of those that it knew, accepted has the hashes: who has one pays for nobody else at the same address.
	reviewer   authenticator.Request
	failures   *quota
	accepted   *cache.LRUExpireCache
	authorizer authorizer.Authorizer
	// clientCA is kept up to date while run runs; nil when it is fixed.
	clientCA *dynamiccertificates.ConfigMapCAController
	// signIn knows the people of identity providers; nil when the hub trusts none.
	signIn *signin.Verifier
	// api is the hub's own API, as whoever asks.
	api *kubeproxy.API
}

// newPeople asks the hub's API server: TokenReview, SubjectAccessReview, and, unless config has ClientCA, which CA its
// clients have. Tokens of the identity providers it verifies itself: an existing API server need not know them.
func newPeople(hubAPI *rest.Config, config Config) (*people, error) {
	clients, err := kubernetes.NewForConfig(hubAPI)
	if err != nil {
		return nil, fmt.Errorf("making the gateway's client: %w", err)
	}
	p := &people{signIn: config.SignIn, failures: newAttempts(time.Now), accepted: cache.NewLRUExpireCache(maxNames)}
	if p.api, err = kubeproxy.NewAPI(hubAPI); err != nil {
		return nil, err
	}
	var provider dynamiccertificates.CAContentProvider
	if len(config.ClientCA) > 0 {
		static, err := dynamiccertificates.NewStaticCAContent("people's client CA", config.ClientCA)
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
	p.reviewer, _, err = authenticatorfactory.DelegatingAuthenticatorConfig{
		TokenAccessReviewClient:            clients.AuthenticationV1(),
		TokenAccessReviewTimeout:           10 * time.Second,
		WebhookRetryBackoff:                retry,
		CacheTTL:                           10 * time.Second,
		ClientCertificateCAContentProvider: provider,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("setting up authentication: %w", err)
	}
	p.authenticator = authenticator.RequestFunc(p.reviewed)
	if p.signIn != nil {
		p.authenticator = union.NewFailOnError(authenticator.RequestFunc(p.signedIn), p.authenticator)
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

// signedIn knows people by the token of an identity provider. Other tokens are left to the hub's API.
func (p *people) signedIn(r *http.Request) (*authenticator.Response, bool, error) {
	token, err := tokenOf(r)
	if token == "" || err != nil {
		return nil, false, err
	}
	return p.signIn.AuthenticateToken(r.Context(), token)
}

// errTokens says that somebody would have the hub's API asked about more tokens than are counted.
var errTokens = errors.New("the request carries several bearer tokens; send one")

// tokenOf returns the bearer token of a request, wherever the hub's authenticators find one: in Authorization, or among the
// protocols of a WebSocket. They would try each, so there is to be one; empty when there is none.
func tokenOf(r *http.Request) (string, error) {
	tokens := kubeproxy.OfferedTokens(r.Header)
	scheme, token, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	if token = strings.TrimSpace(token); token != "" && strings.EqualFold(scheme, "Bearer") {
		tokens = append(tokens, token)
	}
	switch len(tokens) {
	case 0:
		return "", nil
	case 1:
		return tokens[0], nil
	}
	return "", errTokens
}

// errAttempts says that somebody has to wait before the hub's API is asked about another token.
var errAttempts = errors.New("too many tokens from this address were wrong; wait ten seconds")

// knownFor is how long a token that was known is asked about whatever else comes from the same address.
const knownFor = time.Hour

// reviewed knows people by client certificate, and by a token that the hub's API knows. Each token that it does not know is a
// question that anybody can have it asked: so many fail from one address, and no more.
func (p *people) reviewed(r *http.Request) (*authenticator.Response, bool, error) {
	token, err := tokenOf(r)
	if err != nil {
		return nil, false, err
	}
	if token == "" {
		return p.reviewer.AuthenticateRequest(r)
	}
	hash, from := sha256.Sum256([]byte(token)), host(r.RemoteAddr)
	_, known := p.accepted.Get(hash)
	if !known && !p.failures.take(from) { // before it is asked: many at once are many
		return nil, false, errAttempts
	}
	response, ok, err := p.reviewer.AuthenticateRequest(r)
	if ok {
		p.accepted.Add(hash, true, knownFor)
	}
	if !known && (ok || unanswered(r.Context(), err)) {
		p.failures.give(from)
	}
	return response, ok, err
}

// unanswered says whether the hub's API said nothing of a token: it was not there, or nobody waits for it any more.
func unanswered(ctx context.Context, err error) bool {
	if all, ok := errors.AsType[utilerrors.Aggregate](err); ok {
		return slices.ContainsFunc(all.Errors(), func(one error) bool { return unanswered(ctx, one) })
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return true
	}
	if apierrors.ReasonForError(err) != metav1.StatusReasonUnknown {
		return true // a refusal of the question, not a word on the token
	}
	return ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded)
}

// run keeps the client CA and the identity providers up to date until ctx ends.
func (p *people) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	if p.signIn != nil {
		running.Go(func() { p.signIn.Run(ctx) })
	}
	if p.clientCA == nil {
		return
	}
	_ = p.clientCA.RunOnce(ctx) // Run tries on
	p.clientCA.Run(ctx, 1)
}

// who returns the user of a request, or an error that says why nobody is known.
func (p *people) who(r *http.Request) (user.Info, error) {
	response, ok, err := p.authenticator.AuthenticateRequest(r)
	if err != nil {
		return nil, fmt.Errorf("the hub does not accept these credentials: %w", err)
	}
	if !ok && p.clientCA != nil && len(p.clientCA.CurrentCABundleContent()) == 0 && r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return nil, errNotReady
	}
	if !ok {
		return nil, errors.New("no credentials were presented: a client certificate or a bearer token of the hub's API is needed")
	}
	return response.User, nil
}

// errNotReady says that somebody who has shown a certificate is not refused, but not known either.
var errNotReady = errors.New("the hub does not know yet by which authority client certificates are issued " +
	"(its API says so in kube-system/extension-apiserver-authentication); try again")

// mayReach says whether the user may reach the member through the hub.
func (p *people) mayReach(ctx context.Context, who user.Info, cluster v1alpha1.ClusterName) (bool, error) {
	return p.may(ctx, who, authorizer.AttributesRecord{Verb: ProxyVerb, Name: string(cluster)})
}

// may says whether the user may do something with members: those of a name, or all of them.
func (p *people) may(ctx context.Context, who user.Info, what authorizer.AttributesRecord) (bool, error) {
	what.User, what.Resource = who, "memberclusters"
	return p.can(ctx, what)
}

// can says whether somebody may do something in the hub's own API, by the word of that API.
func (p *people) can(ctx context.Context, what authorizer.AttributesRecord) (bool, error) {
	what.ResourceRequest, what.APIGroup, what.APIVersion = true, v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version
	decision, _, err := p.authorizer.Authorize(ctx, what)
	return decision == authorizer.DecisionAllow, err
}

// recognise returns who makes the request. Otherwise it has refused the request, and said so to log.
func (g *Gateway) recognise(w http.ResponseWriter, r *http.Request, log *slog.Logger) (user.Info, bool) {
	who, known := r.Context().Value(knownKey{}).(user.Info)
	var err error
	if !known {
		who, err = g.people.who(r)
	}
	if err == nil {
		audit.From(r.Context()).Known(who) // who smuggles is to have a name in the audit log
	}
	if name, found := kubeproxy.Smuggled(r.Header); found {
		log.Warn("a request was refused", "why", "it carries "+name)
		refuse(w, r, http.StatusForbidden, fmt.Sprintf("%v: remove the header %s (kubectl sends such for --as and --as-group)", kubeproxy.ErrSmuggled, name))
		return nil, false
	}
	if errors.Is(err, errAttempts) {
		log.Warn("a request was refused", "why", err)
		w.Header().Set("Retry-After", "10")
		refuse(w, r, http.StatusTooManyRequests, err.Error())
		return nil, false
	}
	if err != nil {
		log.Warn("a request was refused", "why", err)
		code := http.StatusUnauthorized
		if errors.Is(err, errNotReady) {
			code = http.StatusServiceUnavailable
		}
		refuse(w, r, code, err.Error())
		return nil, false
	}
	lobby.Recognised(r.Context())
	return who, true
}

// refuse answers a person with an error that is the hub's, and has it recorded.
func refuse(w http.ResponseWriter, r *http.Request, code int, why string) {
	audit.From(r.Context()).Refused(why)
	kubeproxy.WriteError(w, code, why)
}

func identityOf(who user.Info) kubeproxy.Identity {
	return kubeproxy.Identity{User: who.GetName(), Groups: who.GetGroups(), Extra: who.GetExtra()}
}

// observed says whether nothing is to be written on a member. What the cache does not know its agent does.
func (g *Gateway) observed(ctx context.Context, cluster v1alpha1.ClusterName) bool {
	var member v1alpha1.MemberCluster
	err := g.client.Get(ctx, client.ObjectKey{Name: string(cluster)}, &member, client.UnsafeDisableDeepCopy)
	return err == nil && member.Spec.Observed()
}

// proxy takes a person's request to a member.
func (g *Gateway) proxy(w http.ResponseWriter, r *http.Request, cluster v1alpha1.ClusterName, path string) {
	log := g.Log.With("peer", r.RemoteAddr, "member", cluster, "method", r.Method, "path", path)
	who, ok := g.recognise(w, r, log)
	if !ok {
		return
	}
	allowed, err := g.people.mayReach(r.Context(), who, cluster)
	if err != nil {
		log.Error("a request to a member was not decided", "user", who.GetName(), "error", err)
		refuse(w, r, http.StatusServiceUnavailable, "the hub cannot decide now whether you may do this; try again")
		return
	}
	if !allowed {
		log.Warn("a request to a member was refused", "user", who.GetName(), "why", "not allowed on the hub")
		refuse(w, r, http.StatusForbidden, fmt.Sprintf(
			"user %q may not reach cluster %q: that takes the verb %q on memberclusters.umbel.dev %q on the hub", who.GetName(), cluster, ProxyVerb, cluster))
		return
	}
	if !kubeproxy.Reads(r.Method, path) && g.observed(r.Context(), cluster) {
		log.Warn("a request to a member was refused", "user", who.GetName(), "why", "the cluster is observed")
		refuse(w, r, http.StatusForbidden, kubeproxy.Observed(cluster))
		return
	}
	through := g.way(r.Context(), cluster)
	if through == nil {
		refuse(w, r, http.StatusServiceUnavailable, fmt.Sprintf(
			"cluster %q is not connected to the hub; `umbel describe cluster %s` says why", cluster, cluster))
		return
	}
	if why := g.unread.full(who.GetName(), cluster); why != "" {
		log.Warn("a request to a member was refused", "user", who.GetName(), "why", why)
		w.Header().Set("Retry-After", "1")
		refuse(w, r, http.StatusTooManyRequests, why)
		return
	}
	audit.From(r.Context()).Allowed(identityOf(who).OnMember().User)
	answer := g.unread.answering(w, who.GetName(), cluster, func() {
		log.Warn("an answer was cut off: it waits for its reader, as too many do", "user", who.GetName())
	})
	err = kubeproxy.Forward(answer, r, through, identityOf(who), path)
	if err != nil {
		log.Warn("a request to a member failed", "user", who.GetName(), "error", err)
		kubeproxy.WriteError(w, http.StatusBadGateway, fmt.Sprintf("the connection to cluster %q failed: %v", cluster, err))
	}
}
