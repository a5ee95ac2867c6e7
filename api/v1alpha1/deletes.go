package v1alpha1

import (
	"fmt"
	"strings"
)

// namedObjects is how many objects a sentence names.
const namedObjects = 3

// Describe says in a sentence what deletes wait, of the release.
func (d *MemberDeletesHeld) Describe(release string) string {
	var why []string
	if d.Kept > 0 {
		why = append(why, fmt.Sprintf("%d of them were brought back by somebody", d.Kept))
	}
	if d.Protected > 0 {
		why = append(why, fmt.Sprintf("%d of them are Namespaces, CustomResourceDefinitions or PersistentVolumeClaims", d.Protected))
	}
	if d.Objects-d.Kept > d.Allowed {
		why = append(why, fmt.Sprintf("its budget is %d", d.Allowed))
	}
	text := fmt.Sprintf("release %s would delete %d of %s", release, d.Objects, Counted(d.Holds, "object"))
	if len(why) > 0 {
		text += " (" + strings.Join(why, ", ") + ")"
	}
	if len(d.Names) > 0 {
		names := d.Names[:min(len(d.Names), namedObjects)]
		text += ": " + strings.Join(names, ", ")
		if more := int(d.Objects) - len(names); more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
	}
	return text
}

// SavePlan is the command that makes a Plan of what a Release of a Package changes. It takes no clone of the source.
func SavePlan(key PackageKey, release string) string {
	namespace, name := key.Split()
	return fmt.Sprintf("`umbel plan %s -n %s --release %s --save` makes one", name, namespace, release)
}

// SavePlanIn returns what SavePlan says in a message of the condition Planned, which names the Release that waits.
func SavePlanIn(message string, key PackageKey) string {
	if _, after, found := strings.Cut(message, "`umbel plan "); found {
		if command, _, whole := strings.Cut(after, "`"); whole {
			return "`umbel plan " + command + "` makes one"
		}
	}
	return SavePlan(key, "RELEASE")
}

// ApproveDeletes is the command that lets a Package's deletes happen.
func ApproveDeletes(key PackageKey) string {
	namespace, name := key.Split()
	return fmt.Sprintf("`umbel approve deletes %s -n %s` lets it", name, namespace)
}
