package member

import (
	"fmt"

	"k8s.io/client-go/rest"
)

// Account is a ServiceAccount of the member for which a package acts. It need not be there: what it may do is what its
// bindings say.
type Account struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String is NAMESPACE/NAME.
func (a Account) String() string { return a.Namespace + "/" + a.Name }

// User is how the API server calls it.
func (a Account) User() string { return "system:serviceaccount:" + a.Namespace + ":" + a.Name }

// Equal says whether both are the same one, or both are nil.
func (a *Account) Equal(other *Account) bool {
	if a == nil || other == nil {
		return a == other
	}
	return *a == *other
}

// Config reaches the same API server, as the same.
func (a *API) Config() *rest.Config { return rest.CopyConfig(a.config) }

// As returns the same API server, asked as a ServiceAccount: each request says whom the agent impersonates, so that the
// member's own RBAC and admission decide, and its audit log names both. The API server puts it in the groups that it would be in with a
// token of its own: naming them would have it ask for each of them, with each request, whether the agent may impersonate that. Kinds, and how many
// requests are under way at once, are shared.
func (a *API) As(account Account) (*API, error) {
	config := rest.CopyConfig(a.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: account.User()}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("preparing to act as ServiceAccount %s: %w", account, err)
	}
	as, err := newFor(config, client)
	if err != nil {
		return nil, fmt.Errorf("preparing to act as ServiceAccount %s: %w", account, err)
	}
	as.kinds, as.slots = a.kinds, a.slots
	return as, nil
}
