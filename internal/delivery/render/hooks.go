package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// hookAnnotation makes an object of a chart a hook: something that Helm makes at a time, and does not look after.
const hookAnnotation = "helm.sh/hook"

// arriving are the times at which a version of a chart comes to a cluster. The others are of leaving, of going back, or of tests.
var arriving = []string{"crd-install", "post-install", "post-upgrade", "pre-install", "pre-upgrade"}

// withoutHooks decides about the hooks of a chart, and names what is left out.
//
//   - A hook of an installation or an upgrade is an object like any other: it is delivered, watched, and pruned when the chart
//     has it no more. No order follows from its time or its weight.
//   - Of such hooks, a Job or a Pod gets a name that ends with eight digits of what is in it. They cannot be changed, so that a
//     new version is another object, which runs, and the one before is pruned. It stays when it is done: one that took itself
//     away would be put back, and run again.
//   - A hook of any other time is left out: before or after a deletion or a rollback, and tests.
func withoutHooks(found []object) (kept []object, left []string, err error) {
	for _, o := range found {
		metadata, _ := o.fields["metadata"].(map[string]any)
		annotations, _ := metadata["annotations"].(map[string]any)
		hook, isHook := annotations[hookAnnotation].(string)
		if !isHook {
			kept = append(kept, o)
			continue
		}
		times := strings.FieldsFunc(hook, func(r rune) bool { return r == ',' || r == ' ' })
		if !slices.ContainsFunc(times, func(time string) bool { return slices.Contains(arriving, time) }) {
			left = append(left, fmt.Sprintf("%s (hook %s)", identify(o.fields), strings.Join(times, ",")))
			continue
		}
		if err := runsOnce(o, metadata); err != nil {
			return nil, nil, err
		}
		kept = append(kept, o)
	}
	slices.Sort(left)
	return kept, left, nil
}

// runsOnce gives a Job or a Pod a name of its own for what is in it.
func runsOnce(o object, metadata map[string]any) error {
	id := identify(o.fields)
	if isJob := id.Group() == "batch" && id.Kind == "Job"; !isJob && !(id.APIVersion == "v1" && id.Kind == "Pod") {
		return nil
	}
	if spec, ok := o.fields["spec"].(map[string]any); ok {
		delete(spec, "ttlSecondsAfterFinished")
	}
	raw, err := json.Marshal(o.fields)
	if err != nil {
		return fmt.Errorf("%s: %w", o.place, err)
	}
	name, _ := metadata["name"].(string)
	if prefix, ok := metadata["generateName"].(string); ok && name == "" {
		name = strings.TrimSuffix(prefix, "-")
		delete(metadata, "generateName")
	}
	if name == "" {
		return nil // the check of all objects says so
	}
	sum := sha256.Sum256(raw)
	const longest = 63 - 9 // a Job's name is a label of its Pods
	metadata["name"] = strings.TrimRight(name[:min(len(name), longest)], "-.") + "-" + hex.EncodeToString(sum[:4])
	return nil
}
