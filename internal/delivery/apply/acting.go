package apply

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/preview"
)

// A package acts as whom its order says: the agent, for the platform's; for a team's, a ServiceAccount of the member, which the
// agent impersonates in everything that it reads and writes for the package's objects. So the member's own RBAC and admission
// say what a team's package may do, the escalation checks of roles and bindings included. Watches are the agent's own: they
// bring objects with a package's label, and each tells only the package that holds it.

// cast is the member's API server as everybody for whom packages act.
type cast struct {
	own *member.API

	mu     sync.Mutex
	as     map[member.Account]*member.API
	sights map[*member.API]*preview.Member
}

// sight returns what looks ahead as an account; nil is the agent.
func (c *cast) sight(account *member.Account) (*preview.Member, error) {
	api, err := c.of(account)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if sight := c.sights[api]; sight != nil {
		return sight, nil
	}
	sight, err := preview.Open(api.Config())
	if err != nil {
		return nil, fmt.Errorf("preparing the client that looks ahead: %w", err)
	}
	if c.sights == nil {
		c.sights = map[*member.API]*preview.Member{}
	}
	c.sights[api] = sight
	return sight, nil
}

// of returns the API server as an account; nil is the agent.
func (c *cast) of(account *member.Account) (*member.API, error) {
	if account == nil {
		return c.own, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if api := c.as[*account]; api != nil {
		return api, nil
	}
	api, err := c.own.As(*account)
	if err != nil {
		return nil, err
	}
	if c.as == nil {
		c.as = map[member.Account]*member.API{}
	}
	c.as[*account] = api
	return api, nil
}

// actsAs is whom an assignment names; nil is the agent.
func actsAs(a *wire.Assignment) *member.Account {
	as := a.GetPolicy().GetActsAs()
	if as == nil {
		return nil
	}
	return &member.Account{Namespace: as.GetNamespace(), Name: as.GetName()}
}

// contentOf is where the content of an assignment is; nowhere when it does not stand where its policy says. Content that is
// for somebody to act as, or to be applied as planned, is nothing that an agent applies that knows of neither, and what is not
// looked at is not what was verified.
func contentOf(a *wire.Assignment) *wire.Content {
	policy := a.GetPolicy()
	bound := policy.GetActsAs() != nil || policy.GetPlanned() != ""
	if bound != (a.GetContent() != nil) {
		return &wire.Content{}
	}
	return a.Where()
}

// account is whom the package acts as; nil is the agent.
func (u *unit) account() *member.Account { return u.asked().ActsAs }

// api is the member's API server as whom the package acts.
func (u *unit) api() (*member.API, error) { return u.engine.cast.of(u.account()) }

// team says whether the package is a team's: it acts as somebody.
func (u *unit) team() bool { return u.account() != nil }

// explain says in a sentence why the API server refused something.
func (u *unit) explain(err error, say wording) string { return explainAs(u.account(), err, say) }

func explainAs(account *member.Account, err error, say wording) string {
	if account == nil || !apierrors.IsForbidden(err) {
		return say(err)
	}
	return fmt.Sprintf("%s: the package acts as ServiceAccount %s, and may do here what that may: bind a role to it, "+
		"on this cluster or by a Scope (spec.serviceAccounts), or take the object out of the package", say(err), account)
}

// diagnose looks for the reason why an object is not healthy, as far as whom the package acts as may see it.
func (u *unit) diagnose(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key) (string, error) {
	api, err := u.api()
	if err != nil {
		return "", err
	}
	return api.Diagnose(ctx, gvr, key)
}
