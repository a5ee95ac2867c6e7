package signin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

const (
	// rereadInterval is how often the file is read.
	rereadInterval = 2 * time.Second
	// settleTime is how long the providers of a file that has changed may take to answer, before it counts without them.
	settleTime = 10 * time.Second
)

// IssuerKey is the attribute of a person by which the hub and its members see who vouches for them.
const IssuerKey = "umbel.dev/issuer"

// Verifier knows the people of the providers in a file.
type Verifier struct {
	path string
	log  *slog.Logger
	now  atomic.Pointer[trust]
}

// trust is one content of the file, at work.
type trust struct {
	raw     []byte
	issuers []Issuer
	tokens  []authority
	end     context.CancelFunc
}

// authority verifies the tokens of one issuer.
type authority struct {
	issuer string
	oidc.AuthenticatorTokenWithHealthCheck
}

// New reads the file at path. What it starts ends with ctx; Run keeps up with the file.
func New(ctx context.Context, path string, log *slog.Logger) (*Verifier, error) {
	raw, err := read(path)
	if err != nil {
		return nil, err
	}
	v := &Verifier{path: path, log: log}
	first, err := v.load(ctx, raw)
	if err != nil {
		return nil, err
	}
	v.now.Store(first)
	return v, nil
}

// Issuers returns the providers whose tokens are accepted, in the order of the file.
func (v *Verifier) Issuers() []Issuer { return v.now.Load().issuers }

// AuthenticateToken implements authenticator.Token. It is false without an error for a token that is none of the
// providers': somebody else may know it.
func (v *Verifier) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	for _, authority := range v.now.Load().tokens {
		response, ok, err := authority.AuthenticateToken(ctx, token)
		if err != nil {
			return nil, false, fmt.Errorf("the token of %s: %w", authority.issuer, withoutToken(err, token))
		}
		if !ok {
			continue
		}
		person, err := known(response.User, authority.issuer)
		if err != nil {
			return nil, false, err
		}
		return &authenticator.Response{Audiences: response.Audiences, User: person}, true, nil
	}
	return nil, false, nil
}

// reserved are beginnings of names that no provider gives: Kubernetes' own, the hub's own, and those by which members know the
// hub's.
var reserved = []string{"system:", "umbel:", "hub:"}

// known is a person as the hub knows them: of the issuer, authenticated, and with no name that is reserved.
func known(person user.Info, issuer string) (user.Info, error) {
	for _, name := range append([]string{person.GetName()}, person.GetGroups()...) {
		for _, prefix := range reserved {
			if strings.HasPrefix(name, prefix) {
				return nil, fmt.Errorf("%s calls somebody %q: names that begin with %q are Kubernetes' or the hub's own; give claimMappings a prefix", issuer, name, prefix)
			}
		}
	}
	extra := map[string][]string{IssuerKey: {issuer}}
	for key, values := range person.GetExtra() {
		if key != IssuerKey {
			extra[key] = values
		}
	}
	return &user.DefaultInfo{
		Name: person.GetName(), UID: person.GetUID(), Extra: extra,
		Groups: append(append([]string{}, person.GetGroups()...), user.AllAuthenticated),
	}, nil
}

// withoutToken is err, unless it repeats any part of the token.
func withoutToken(err error, token string) error {
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 8 && strings.Contains(err.Error(), part) {
			return errors.New("it cannot be read")
		}
	}
	return err
}

// Run keeps up with the file until ctx ends.
func (v *Verifier) Run(ctx context.Context) {
	tick := time.NewTicker(rereadInterval)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := v.reread(ctx)
		if err == nil || ctx.Err() != nil {
			said = ""
			continue
		}
		if said != err.Error() {
			said = err.Error()
			v.log.Error("the authentication configuration is not used: what was read before stands", "error", err)
		}
	}
}

// reread uses the file when it has changed.
func (v *Verifier) reread(ctx context.Context) error {
	raw, err := read(v.path)
	if err != nil {
		return err
	}
	old := v.now.Load()
	if bytes.Equal(raw, old.raw) {
		return nil
	}
	next, err := v.load(ctx, raw)
	if err != nil {
		return err
	}
	next.settle(ctx)
	v.now.Store(next)
	// A request that is being answered may still need the old one.
	time.AfterFunc(settleTime, old.end)
	v.log.Info("the authentication configuration has changed", "file", v.path, "issuers", len(next.issuers))
	return nil
}

// load puts a content of the file to work.
func (v *Verifier) load(ctx context.Context, raw []byte) (*trust, error) {
	config, err := parse(v.path, raw)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(ctx)
	loaded := &trust{raw: raw, issuers: issuersOf(config), end: end}
	for i, jwt := range config.JWT {
		tokens, err := newAuthority(ctx, jwt)
		if err != nil {
			end()
			return nil, fmt.Errorf("authentication configuration %s: jwt[%d]: %w", v.path, i, err)
		}
		loaded.tokens = append(loaded.tokens, authority{issuer: jwt.Issuer.URL, AuthenticatorTokenWithHealthCheck: tokens})
	}
	return loaded, nil
}

func newAuthority(ctx context.Context, jwt apiserver.JWTAuthenticator) (oidc.AuthenticatorTokenWithHealthCheck, error) {
	// The algorithms are those that kube-apiserver accepts with an AuthenticationConfiguration.
	options := oidc.Options{JWTAuthenticator: jwt, SupportedSigningAlgs: oidc.AllValidSigningAlgorithms()}
	if pem := jwt.Issuer.CertificateAuthority; pem != "" {
		content, err := dynamiccertificates.NewStaticCAContent("the issuer's CA", []byte(pem))
		if err != nil {
			return nil, fmt.Errorf("issuer.certificateAuthority: %w", err)
		}
		options.CAContentProvider = content
	}
	return oidc.New(ctx, options)
}

// settle waits until all providers have been heard, and for settleTime at the most.
func (t *trust) settle(ctx context.Context) {
	// The error says that it took too long: then those that were not heard are unknown, and the others count.
	_ = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, settleTime, true, func(context.Context) (bool, error) {
		for _, authority := range t.tokens {
			if authority.HealthCheck() != nil {
				return false, nil
			}
		}
		return true, nil
	})
}
