package client

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/internal/cli/kinds"
)

// completionTimeout is how long a shell may wait for names.
const completionTimeout = 2 * time.Second

const noFiles = cobra.ShellCompDirectiveNoFileComp

// Names is how many names a command takes.
type Names int

// One name, or as many as somebody likes.
const (
	One  Names = 1
	Many Names = math.MaxInt
)

// CompleteTarget completes KIND NAME… and KIND/NAME…: first one of the kinds given, then names of it.
func (f *Factory) CompleteTarget(most Names, words ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 && !strings.Contains(typed, "/") {
			return words, noFiles
		}
		word, _, slashed := strings.Cut(append(args, typed)[0], "/")
		kind, err := kinds.Lookup(word)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		if !slashed {
			return f.names(cmd, kind, most, args[1:])
		}
		var given []string
		for _, arg := range args {
			_, name, _ := strings.Cut(arg, "/")
			given = append(given, name)
		}
		names, directive := f.names(cmd, kind, most, given)
		for i := range names {
			names[i] = word + "/" + names[i]
		}
		return names, directive
	}
}

// CompleteFirst completes the first argument with the names of a kind. What follows is another program's.
func (f *Factory) CompleteFirst(kind kinds.Kind) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return f.names(cmd, kind, One, nil)
	}
}

// CompleteNames completes every argument with the names of a kind that are not given yet.
func (f *Factory) CompleteNames(kind kinds.Kind) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return f.names(cmd, kind, Many, args)
	}
}

// CompleteName completes the one argument that there is with the names of a kind.
func (f *Factory) CompleteName(kind kinds.Kind) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return f.names(cmd, kind, One, args)
	}
}

// CompleteLabels completes a selector of one label with those that objects of a kind have, as KEY=VALUE.
func (f *Factory) CompleteLabels(kind kinds.Kind) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind.ListGVK())
		hub, err := f.Connect()
		if err == nil {
			err = hub.List(ctx, list)
		}
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var pairs []string
		for _, item := range list.Items {
			for key, value := range item.Labels {
				pairs = append(pairs, key+"="+value)
			}
		}
		slices.Sort(pairs)
		return slices.Compact(pairs), noFiles
	}
}

func (f *Factory) completeNamespaces(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	return f.list(cmd, list, nil)
}

// names returns the names of a kind that are not among those given, unless there are enough of them.
func (f *Factory) names(cmd *cobra.Command, kind kinds.Kind, most Names, given []string) ([]string, cobra.ShellCompDirective) {
	if len(given) >= int(most) {
		return nil, noFiles
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind.ListGVK())
	var in []kube.ListOption
	if kind.Scope == kinds.Namespaced {
		in = append(in, kube.InNamespace(f.Namespace))
	}
	return f.list(cmd, list, given, in...)
}

func (f *Factory) list(cmd *cobra.Command, list *metav1.PartialObjectMetadataList, given []string, in ...kube.ListOption) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	hub, err := f.Connect()
	if err == nil {
		err = hub.List(ctx, list, in...)
	}
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names := []string{}
	for _, item := range list.Items {
		if !slices.Contains(given, item.Name) {
			names = append(names, item.Name)
		}
	}
	return names, noFiles
}

// CompleteListed completes the one argument of a verb by what list returns, of which name is the name.
func CompleteListed[T any](f *Factory, list func(context.Context, *Hub) ([]T, error), name func(T) string) cobra.CompletionFunc {
	value := CompleteValue(f, list, name)
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, noFiles
		}
		return value(cmd, args, typed)
	}
}

// CompleteValue completes the value of a flag likewise, whatever arguments there are.
func CompleteValue[T any](f *Factory, list func(context.Context, *Hub) ([]T, error), name func(T) string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		hub, err := f.Connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		all, err := list(ctx, hub)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names := make([]string, len(all))
		for i, one := range all {
			names[i] = name(one)
		}
		return names, noFiles
	}
}
