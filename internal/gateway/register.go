package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/session"
)

const (
	// registrationRate is how many clusters may register themselves in a second, and registrationBurst how many at once:
	// whoever comes above that comes again by itself.
	registrationRate  = 10
	registrationBurst = 50

	reasonTooMany = "TooManyRegistrations"
)

// +kubebuilder:rbac:groups=umbel.dev,resources=memberclusters,verbs=create

// register makes the MemberCluster of a cluster that comes with a token for many, under the name that it asks for. The
// caller has found that nobody has the name.
//
// A use is written down in the token's Secret before the MemberCluster is made, with the key that asked: killed in
// between, the same key goes on where it was. Once the MemberCluster was made the token has served that key. So a cluster
// that was taken out of the fleet does not come back by the token that it still has.
func (g *Gateway) register(ctx context.Context, ask session.JoinRequest, request identity.MemberRequest) error {
	name, fleet := identity.FleetTokenName(ask.Token)
	if !fleet {
		return unknownMember(request.Cluster)
	}
	no := &refused{reason: v1alpha1.ReasonTokenRefused, cluster: request.Cluster}
	if _, _, err := g.fleetToken(ctx, name, ask); err != nil {
		return err // before anybody waits for it: a wrong token holds up nobody
	}
	g.registering.Lock()
	defer g.registering.Unlock()
	secret, token, err := g.fleetToken(ctx, name, ask)
	if err != nil {
		return err
	}
	use, known := token.Uses[request.Fingerprint]
	switch {
	case known && use.Made:
		no.reason = session.ReasonNoMember
		no.text = fmt.Sprintf("the cluster joined as %q with this token and has left the fleet since; to come back it needs a key of its own anew: "+
			"`umbel join %s` on the hub's side, or delete namespace %s there and apply the manifest again", use.Cluster, use.Cluster, v1alpha1.AgentNamespace)
		return no
	case time.Now().After(token.Expires.Time):
		no.text = "the join token has expired; `umbel token create` makes another one"
		return no
	case !known && len(token.Uses) >= token.MaxUses:
		no.text = fmt.Sprintf("the join token has let in as many clusters as it may (%d); `umbel token create` makes another one", token.MaxUses)
		return no
	case !v1alpha1.ValidClusterName(request.Cluster):
		no.reason = reasonBadRequest
		no.text = fmt.Sprintf("cluster: %.63q is no name of a cluster: lower case letters, digits and '-', at most 63 characters", request.Cluster)
		return no
	case !g.registrations.Allow():
		no.proven = true // it has a token that is right
		no.reason, no.text = reasonTooMany, "many clusters register themselves at this moment; the agent tries again by itself"
		return no
	}
	if !known || use.Cluster != request.Cluster {
		if err := g.noteUse(ctx, secret, token, request.Fingerprint, v1alpha1.TokenUse{Cluster: request.Cluster}); err != nil {
			return err
		}
	}
	return g.create(ctx, name, token, request)
}

func (g *Gateway) create(ctx context.Context, name string, token v1alpha1.JoinToken, request identity.MemberRequest) error {
	member := &v1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{
			Name: string(request.Cluster), Labels: token.Labels,
			Annotations: map[string]string{
				v1alpha1.RegisteredWithAnnotation: name, v1alpha1.RegisteredKeyAnnotation: request.Fingerprint,
			},
		},
		Spec: v1alpha1.MemberClusterSpec{Admission: v1alpha1.AdmissionAdmitted},
	}
	if token.Policy == v1alpha1.JoinApproval {
		member.Spec.Admission = v1alpha1.AdmissionPending
	}
	err := g.client.Create(ctx, member)
	if err != nil && !apierrors.IsAlreadyExists(err) { // somebody took the name: the caller looks again
		return fmt.Errorf("creating MemberCluster %q: %w", request.Cluster, err)
	}
	if err == nil {
		g.Log.Info("a cluster registered itself", "member", request.Cluster, "token", name, "key", request.Fingerprint[:12], "admission", member.Spec.Admission)
	}
	return nil
}

// unknownMember is the answer to who asks for a name that nobody has.
func unknownMember(cluster v1alpha1.ClusterName) *refused {
	return &refused{
		reason: session.ReasonNoMember, cluster: cluster,
		text: fmt.Sprintf("the hub has no MemberCluster %.63q; run `umbel join %.63s`", cluster, cluster),
	}
}

// fleetToken reads a token for many clusters. It is refused, in the same words, whether there is none of that name or
// another one was presented: a name can be guessed.
func (g *Gateway) fleetToken(ctx context.Context, name string, ask session.JoinRequest) (*corev1.Secret, v1alpha1.JoinToken, error) {
	key := client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenPrefix + name}
	wrong := &refused{
		reason: v1alpha1.ReasonTokenRefused, cluster: ask.Cluster,
		text: "the join token is wrong, or was revoked; `umbel token create` makes another one",
	}
	if len(name) > v1alpha1.MaxTokenName || !v1alpha1.ValidClusterName(v1alpha1.ClusterName(name)) {
		return nil, v1alpha1.JoinToken{}, wrong
	}
	var secret corev1.Secret
	err := g.live.Get(ctx, key, &secret)
	if apierrors.IsNotFound(err) {
		return nil, v1alpha1.JoinToken{}, wrong
	}
	if err != nil {
		return nil, v1alpha1.JoinToken{}, fmt.Errorf("reading the join token %s: %w", key, err)
	}
	if secret.Type != v1alpha1.JoinTokenType {
		return nil, v1alpha1.JoinToken{}, wrong
	}
	token, err := v1alpha1.ParseJoinToken(secret.Data[v1alpha1.JoinTokenData])
	if err != nil {
		return nil, v1alpha1.JoinToken{}, fmt.Errorf("secret %s: %w; `umbel token revoke %s` takes it away", key, err, name)
	}
	if !identity.TokenMatches(ask.Token, token.Hash) {
		return nil, v1alpha1.JoinToken{}, wrong
	}
	return &secret, token, nil
}

// noteUse writes down that a token serves a key. A conflict says that somebody else has changed the token.
func (g *Gateway) noteUse(ctx context.Context, secret *corev1.Secret, token v1alpha1.JoinToken, key string, use v1alpha1.TokenUse) error {
	if token.Uses == nil {
		token.Uses = map[string]v1alpha1.TokenUse{}
	}
	token.Uses[key] = use
	raw, err := json.Marshal(token)
	if err != nil {
		return err
	}
	secret.Data[v1alpha1.JoinTokenData] = raw
	if err := g.client.Update(ctx, secret); err != nil {
		return fmt.Errorf("noting a use of the join token %s: %w", secret.Name, err)
	}
	return nil
}

// registeredBy says whether the MemberCluster is one that the hub made for this key, as far as its annotations tell: others may
// write those as well.
func registeredBy(member *v1alpha1.MemberCluster, fingerprint string) bool {
	return member.Annotations[v1alpha1.RegisteredKeyAnnotation] == fingerprint
}

// settle says whether the key that asks has registered the cluster, which the Secret of its token alone proves, and writes down
// there that the MemberCluster was made, before the key is pinned: from then on its token brings it back no more. A token that
// was revoked meanwhile brings back nobody.
func (g *Gateway) settle(ctx context.Context, name string, ask session.JoinRequest, request identity.MemberRequest) error {
	registered := func() (*corev1.Secret, v1alpha1.JoinToken, error) {
		secret, token, err := g.fleetToken(ctx, name, ask)
		if use, known := token.Uses[request.Fingerprint]; err == nil && (!known || use.Cluster != request.Cluster) {
			err = &refused{reason: v1alpha1.ReasonTokenRefused, cluster: request.Cluster, text: fmt.Sprintf(
				"the token has not registered cluster %q for this key, although the MemberCluster says so; run `umbel join %s` for a token of its own",
				request.Cluster, request.Cluster)}
		}
		return secret, token, err
	}
	if _, _, err := registered(); err != nil {
		return err // before anybody waits for it
	}
	g.registering.Lock()
	defer g.registering.Unlock()
	secret, token, err := registered()
	if err != nil || token.Uses[request.Fingerprint].Made {
		return err
	}
	return g.noteUse(ctx, secret, token, request.Fingerprint, v1alpha1.TokenUse{Cluster: request.Cluster, Made: true})
}
