// Package kinds answers: which kind of object does a word on the command line mean?
//
// The words are those of kubectl (plural, singular, short name) for the kinds of umbel.dev, and cluster for
// MemberCluster, which is what people call it. It reads nothing and knows no verb.
package kinds

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/exit"
)

// Scope says where objects of a kind live.
type Scope string

// The scopes.
const (
	Namespaced Scope = "Namespaced"
	Cluster    Scope = "Cluster"
)

// Kind is a kind of the API as people name it.
type Kind struct {
	// Singular and Plural are what Umbel calls it.
	Singular, Plural string
	// Short is its short name in the API; a kind may have none.
	Short string
	// Resource is its plural name in the API.
	Resource string
	// GVK is its group, version and kind.
	GVK schema.GroupVersionKind
	// Scope says where its objects live.
	Scope Scope
}

// The kinds.
var (
	Clusters   = define("cluster", "mc", "MemberCluster", Cluster)
	Packages   = define("package", "pkg", "Package", Namespaced)
	Placements = define("placement", "pl", "Placement", Namespaced)
	Releases   = define("release", "rel", "Release", Namespaced)
	Rollouts   = define("rollout", "ro", "Rollout", Namespaced)
	Plans      = define("plan", "", "Plan", Namespaced)
	Scopes     = define("scope", "scp", "Scope", Cluster)
)

// All returns every kind, in the order in which people meet them.
func All() []Kind { return []Kind{Clusters, Packages, Placements, Releases, Rollouts, Plans, Scopes} }

func define(singular, short, kind string, scope Scope) Kind {
	return Kind{
		Singular: singular, Plural: singular + "s", Short: short,
		Resource: strings.ToLower(kind) + "s", GVK: v1alpha1.GroupVersion.WithKind(kind), Scope: scope,
	}
}

// Lookup returns the kind that a word means. The error is a misuse and lists the kinds.
func Lookup(word string) (Kind, error) {
	lower, _, _ := strings.Cut(strings.ToLower(word), ".") // memberclusters.umbel.dev, as -o name writes it
	for _, kind := range All() {
		if slices.Contains(kind.words(), lower) {
			return kind, nil
		}
	}
	return Kind{}, exit.Usagef("there is no kind %q: the kinds are %s", word, List())
}

// Target takes the arguments KIND NAME… or KIND/NAME apart.
func Target(args []string) (Kind, []string, error) {
	if len(args) == 0 {
		return Kind{}, nil, exit.Usagef("say which kind: %s", List())
	}
	word, name, slashed := strings.Cut(args[0], "/")
	kind, err := Lookup(word)
	if err != nil {
		return Kind{}, nil, err
	}
	if !slashed {
		return kind, args[1:], nil
	}
	names := []string{name}
	for _, arg := range args[1:] {
		otherWord, other, ok := strings.Cut(arg, "/")
		otherKind, err := Lookup(otherWord)
		if err != nil || !ok || otherKind != kind {
			return Kind{}, nil, exit.Usagef("after %s only other %s can follow, as %s/NAME; got %q", args[0], kind.Plural, kind.Singular, arg)
		}
		names = append(names, other)
	}
	return kind, names, nil
}

// NameOf returns the name in an argument of a command that takes objects of this kind alone: NAME, or KIND/NAME as -o name
// writes it.
func (k Kind) NameOf(arg string) (string, error) {
	word, name, slashed := strings.Cut(arg, "/")
	if !slashed {
		return arg, nil
	}
	kind, err := Lookup(word)
	if err != nil {
		return "", err
	}
	if kind != k {
		return "", exit.Usagef("%s is a %s: name a %s", arg, kind.Singular, k.Singular)
	}
	return name, nil
}

// List returns the kinds as a sentence's list.
func List() string {
	var words []string
	for _, kind := range All() {
		word := kind.Plural
		if kind.Short != "" {
			word += " (" + kind.Short + ")"
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// Words returns the plural of every kind, for completion.
func Words() []string {
	var words []string
	for _, kind := range All() {
		words = append(words, kind.Plural)
	}
	return words
}

// Qualified returns the name of an object as kubectl takes it: membercluster.umbel.dev/NAME.
func (k Kind) Qualified(name string) string {
	return strings.ToLower(k.GVK.Kind) + "." + k.GVK.Group + "/" + name
}

// ListGVK is the kind of a list of objects of this kind.
func (k Kind) ListGVK() schema.GroupVersionKind {
	return k.GVK.GroupVersion().WithKind(k.GVK.Kind + "List")
}

func (k Kind) words() []string {
	words := []string{k.Singular, k.Plural, k.Resource, strings.TrimSuffix(k.Resource, "s")}
	if k.Short != "" {
		words = append(words, k.Short)
	}
	return words
}
