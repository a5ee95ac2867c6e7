package asks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// Drift is what an object asks to be done when somebody else changes or deletes it.
type Drift int

const (
	// DriftUnsaid leaves it to the Package.
	DriftUnsaid Drift = iota
	// DriftRepair has it put back.
	DriftRepair
	// DriftReport has it told, and left.
	DriftReport
	// DriftIgnore: the object is created when it is not there, and then left to others, whatever the source says.
	DriftIgnore
)

const (
	// DefaultTimeout is how long an object waits for those that it depends on.
	DefaultTimeout = 5 * time.Minute
	// maxTimeout bounds what an annotation may ask for.
	maxTimeout = 24 * time.Hour
	// maxTargets is how many objects one may depend on.
	maxTargets = 64
)

// Asks is what an object asks for. The zero value asks for nothing.
type Asks struct {
	Drift     Drift
	DependsOn []bundle.Key
	// Timeout is how long it waits for them; 0 is DefaultTimeout.
	Timeout time.Duration
}

// Wait is how long the object waits for those that it depends on.
func (a Asks) Wait() time.Duration {
	if a.Timeout > 0 {
		return a.Timeout
	}
	return DefaultTimeout
}

// Of reads the annotations of an object.
func Of(annotations map[string]any) (a Asks, err error) {
	text := func(name string) string {
		value, _ := annotations[name].(string)
		return strings.TrimSpace(value)
	}
	if a.Drift, err = driftOf(text(v1alpha1.DriftAnnotation), text(v1alpha1.ConfigSyncMutationAnnotation)); err != nil {
		return Asks{}, err
	}
	for _, each := range []struct {
		annotation string
		read       func(string) (bundle.Key, error)
	}{{v1alpha1.DependsOnAnnotation, readTarget}, {v1alpha1.ConfigSyncDependsOnAnnotation, readConfigSyncTarget}} {
		targets, err := targetsOf(text(each.annotation), each.read)
		if err != nil {
			return Asks{}, fmt.Errorf("annotation %s: %w", each.annotation, err)
		}
		a.DependsOn = append(a.DependsOn, targets...)
	}
	slices.SortFunc(a.DependsOn, bundle.Key.Compare)
	a.DependsOn = slices.Compact(a.DependsOn)
	if wait := text(v1alpha1.DependsOnTimeoutAnnotation); wait != "" {
		a.Timeout, err = time.ParseDuration(wait)
		if err != nil || a.Timeout <= 0 || a.Timeout > maxTimeout {
			return Asks{}, fmt.Errorf("annotation %s: %q has to be a duration between 1s and 24h, such as 10m", v1alpha1.DependsOnTimeoutAnnotation, wait)
		}
	}
	return a, nil
}

func driftOf(ours, configSync string) (Drift, error) {
	switch ours {
	case "repair":
		return DriftRepair, nil
	case "report":
		return DriftReport, nil
	case "ignore":
		return DriftIgnore, nil
	case "":
		if configSync == "ignore" {
			return DriftIgnore, nil
		}
		return DriftUnsaid, nil
	}
	return DriftUnsaid, fmt.Errorf("annotation %s: %q has to be repair, report or ignore", v1alpha1.DriftAnnotation, ours)
}

func targetsOf(list string, read func(string) (bundle.Key, error)) (targets []bundle.Key, err error) {
	if list == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		target, err := read(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		targets = append(targets, target)
	}
	if len(targets) > maxTargets {
		return nil, fmt.Errorf("it names %d objects, the limit is %d", len(targets), maxTargets)
	}
	return targets, nil
}

// readTarget reads KIND[.GROUP] [NAMESPACE/]NAME, as statuses and errors write objects.
func readTarget(text string) (bundle.Key, error) {
	words := strings.Fields(text)
	if len(words) != 2 {
		return bundle.Key{}, fmt.Errorf("%q has to be KIND[.GROUP] [NAMESPACE/]NAME, such as Deployment.apps shop/db", text)
	}
	var key bundle.Key
	key.Kind, key.Group, _ = strings.Cut(words[0], ".")
	namespace, name, slashed := strings.Cut(words[1], "/")
	if !slashed {
		namespace, name = "", words[1]
	}
	key.Namespace, key.Name = namespace, name
	if key.Kind == "" || name == "" || slashed && namespace == "" || strings.Contains(name, "/") {
		return bundle.Key{}, fmt.Errorf("%q has to be KIND[.GROUP] [NAMESPACE/]NAME, such as Deployment.apps shop/db", text)
	}
	return key, nil
}

// readConfigSyncTarget reads GROUP/namespaces/NAMESPACE/KIND/NAME or GROUP/KIND/NAME.
func readConfigSyncTarget(text string) (bundle.Key, error) {
	parts := strings.Split(text, "/")
	var key bundle.Key
	switch {
	case len(parts) == 5 && parts[1] == "namespaces":
		key = bundle.Key{Group: parts[0], Namespace: parts[2], Kind: parts[3], Name: parts[4]}
	case len(parts) == 3:
		key = bundle.Key{Group: parts[0], Kind: parts[1], Name: parts[2]}
	}
	if key.Kind == "" || key.Name == "" || len(parts) == 5 && key.Namespace == "" {
		return bundle.Key{}, fmt.Errorf("%q has to be GROUP/namespaces/NAMESPACE/KIND/NAME or GROUP/KIND/NAME", text)
	}
	return key, nil
}
