package origin

import (
	"context"
	"encoding/json"
	"fmt"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/member"
	"umbel.dev/umbel/internal/cli/adopt/owner"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// Kind is a kind of those whom Umbel takes over from.
type Kind string

// The kinds.
const (
	Kubectl       Kind = "kubectl"
	Kustomization Kind = "kustomization"
	Application   Kind = "application"
	RootSync      Kind = "rootsync"
	RepoSync      Kind = "reposync"
	GitRepo       Kind = "gitrepo"
)

// Ref names one of them.
type Ref struct {
	Kind Kind `json:"kind"`
	// Namespace and Name of the object by which it is told what to do. For kubectl, the namespace of what it applied; empty for all.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// Labels restrict what kubectl applied. For a GitRepo it is the namespace of one of its clusters.
	Labels string `json:"labels,omitempty"`
}

// Managed is what one of them manages.
type Managed struct {
	// Objects, as far as it knows itself.
	Objects []bundle.Key
	// Source and Helm are what a Package has to say to render the same.
	Source v1alpha1.Source
	Helm   *v1alpha1.HelmOptions
	// Managers are under which names it writes objects, the present one first.
	Managers []owner.Manager
	// Lacks are what Umbel has no word for, and Notes what somebody should know.
	Lacks, Notes []string
	// Manifests are the objects themselves, where there is no other source.
	Manifests []json.RawMessage
	// Was is what Start needs to make it again what it was.
	Was json.RawMessage
	// Overlay notes among the Lacks what the other says of kustomize beside its source. Whoever has put that into a folder of the
	// repository, and names it, lets it be.
	Overlay func()

	err error // the first one of translating
}

func (m *Managed) fail(err error) {
	if m.err == nil {
		m.err = err
	}
}

// lack notes that Umbel has no word for a field.
func (m *Managed) lack(format string, args ...any) {
	m.Lacks = append(m.Lacks, fmt.Sprintf(format, args...))
}

// note notes what somebody should know.
func (m *Managed) note(format string, args ...any) {
	m.Notes = append(m.Notes, fmt.Sprintf(format, args...))
}

// Origin is one of them. All methods may be repeated.
type Origin interface {
	// String is who that is, for people.
	String() string
	// Read returns what it manages.
	Read(ctx context.Context, c *member.Cluster) (*Managed, error)
	// Stop has it write and delete nothing any more. It keeps what it has to be started with.
	Stop(ctx context.Context, c *member.Cluster) error
	// Start makes it again what it was.
	Start(ctx context.Context, c *member.Cluster, was json.RawMessage) error
}

// Of returns the one that a Ref names.
func Of(ref Ref) (Origin, error) {
	switch ref.Kind {
	case Kubectl:
		return kubectl{ref}, nil
	case Kustomization:
		return flux{ref}, nil
	case Application:
		return argo{ref}, nil
	case RootSync:
		return rootSync(ref), nil
	case RepoSync:
		return repoSync(ref), nil
	case GitRepo:
		return gitRepo{ref}, nil
	}
	return nil, fmt.Errorf("nothing is known of a %q to take over from", ref.Kind)
}
