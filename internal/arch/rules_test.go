package arch

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

// levels are the floors of the house. The longest prefix of a package's folder counts.
var levels = map[string]int{
	"api":      0, // the vocabulary
	"deploy":   0, // generated manifests, embedded
	"examples": 0, // the example fleet, embedded

	"internal/version": 0,

	"internal/identity":    1, // who is asking?
	"internal/audit":       1, // who did what?
	"internal/content":     1, // where is content kept, by digest?
	"internal/kube":        1, // mechanics that controller-runtime lacks
	"internal/health":      1, // what is wrong in the fleet now?
	"internal/programtest": 1, // where is a program that tests start?

	"internal/tunnel":  2, // one connection per cluster
	"internal/session": 2, // what hub and agent say on it

	"internal/lifecycle": 3, // how does a cluster come to be?
	"internal/placement": 3, // which clusters?
	"internal/delivery":  3, // from a source to applied objects
	"internal/rollout":   3, // in which order, how fast, and when to stop?
	"internal/scope":     3, // who may do what, where?
	"internal/gateway":   3, // who may come in, and where to?
	"internal/backup":    3, // what makes a hub this hub?
	"internal/profile":   3, // how do tools for many clusters see a member?
	"internal/metrics":   3, // what does the fleet measure?
	"internal/upgrade":   3, // which agents become another program, and what when that goes wrong?

	"internal/hub":     4, // the list of what the hub runs
	"internal/console": 4, // what does somebody see of it in a browser?
	"internal/agent":   4, // the same for a member
	"internal/cli":     4, // a folder per noun or verb

	"cmd":           5,
	"test":          6, // stories that need all of it
	"internal/arch": 6,
}

// sideways are the arrows between rooms of level 4 that have a reason.
var sideways = map[[2]string]string{
	{"internal/hub", "internal/console"}: "the hub serves the console, and wires it like every other part",
	{"internal/console", "internal/cli"}: "what may be told of an object is decided once, in package view, for terminals and browsers",
	{"internal/cli", "internal/hub"}:     "`umbel hub` and `umbel up` run the hub in this very process",
}

// room returns the room that a folder belongs to and its level.
func room(dir string) (string, int, bool) {
	for at := dir; at != "."; at = path.Dir(at) {
		if level, ok := levels[at]; ok {
			return at, level, true
		}
	}
	return "", 0, false
}

var arrows = []rule{
	{
		name:    "every package has a level",
		because: "a room that nobody placed grows arrows in all directions: add it to levels in internal/arch/rules_test.go",
		find: each(func(f *file) []breach {
			if _, _, ok := room(f.dir); ok {
				return nil
			}
			return []breach{f.breach(f.syntax.Pos(), "package %s has no level", f.dir)}
		}),
	},
	{
		name:    "arrows point down",
		because: "what is below must be understood, tested and reused without what is above",
		find:    each(upward),
	},
	{
		name: "rooms of one level do not import each other",
		because: "rooms meet in api/ objects, and in interfaces that their callers own and hub.go wires; " +
			"otherwise nobody can change one room alone (a test that needs two belongs into test/)",
		find: each(across),
	},
	{
		name:    "api imports apimachinery only",
		because: "other programs use the vocabulary without drawing in Umbel",
		find: each(func(f *file) []breach {
			if room, _, _ := room(f.dir); room != "api" || f.test() {
				return nil
			}
			return f.importsOutside(standard, "k8s.io/apimachinery", "google.golang.org/protobuf", module+"/api")
		}),
	},
	{
		name:    "planners decide purely",
		because: "the hard part is tested without a cluster, a network, a disk or a clock: a plan.go, and a room called decide, takes plain structs and the time",
		find:    impure,
	},
	{
		name:    "what ships imports nothing that is for tests",
		because: "a helper for tests has other manners: it fails instead of returning an error, and trusts everybody",
		find: each(func(f *file) []breach {
			if f.test() {
				return nil
			}
			var found []breach
			for _, imports := range f.imports {
				own, ours := strings.CutPrefix(imports.path, module+"/")
				if imports.path == "testing" || ours && testOnly(own) {
					found = append(found, f.breach(imports.pos, "imports %s", imports.path))
				}
			}
			return found
		}),
	},
}

func upward(f *file) []breach {
	_, level, _ := room(f.dir)
	var found []breach
	for _, imports := range f.imports {
		dir, ours := strings.CutPrefix(imports.path, module+"/")
		if _, above, known := room(dir); ours && known && above > level {
			found = append(found, f.breach(imports.pos, "level %d imports %s of level %d", level, dir, above))
		}
	}
	return found
}

func across(f *file) []breach {
	own, level, _ := room(f.dir)
	if level < 3 || level > 4 {
		return nil
	}
	var found []breach
	for _, imports := range f.imports {
		dir, ours := strings.CutPrefix(imports.path, module+"/")
		other, beside, known := room(dir)
		if !ours || !known || beside != level || other == own {
			continue
		}
		if _, allowed := sideways[[2]string{own, other}]; !allowed {
			found = append(found, f.breach(imports.pos, "%s imports %s", own, dir))
		}
	}
	return found
}

// standard in a list of imports means the standard library.
const standard = "(standard library)"

// importsOutside finds imports that are not below one of the prefixes.
func (f *file) importsOutside(allowed ...string) []breach {
	var found []breach
	for _, imports := range f.imports {
		first, _, _ := strings.Cut(imports.path, "/")
		if slices.Contains(allowed, standard) && !strings.Contains(first, ".") {
			continue
		}
		if !slices.ContainsFunc(allowed, func(prefix string) bool { return below(imports.path, prefix) }) {
			found = append(found, f.breach(imports.pos, "imports %s", imports.path))
		}
	}
	return found
}

// below says whether an import path is prefix or lies under it.
func below(imports, prefix string) bool {
	return imports == prefix || strings.HasPrefix(imports, prefix+"/")
}

// worldly are the packages that reach out of a function's arguments. Pure subpackages are taken out again.
var (
	worldly = []string{"os", "net", "syscall", "io/fs", "database", "k8s.io/client-go", "sigs.k8s.io/controller-runtime"}
	pure    = []string{"net/netip", "net/url"}
	// harmless names of package net: types and parsers.
	harmless = []string{"HardwareAddr", "IP", "IPMask", "IPNet", "ParseIP", "ParseCIDR", "CIDRMask", "JoinHostPort"}
)

// decides says whether a file is one that ships of a room called decide.
func decides(f *file) bool { return path.Base(f.dir) == "decide" && !f.test() }

// impure finds what reaches out of the arguments of planners. A room called decide does so in nothing of ours that it imports either; a
// plan.go may stand beside what acts, and import plain structs from there.
func impure(files []*file) []breach {
	packages := map[string][]*file{} // those that ship, by folder
	for _, f := range files {
		if !f.test() {
			packages[f.dir] = append(packages[f.dir], f)
		}
	}
	var found []breach
	for _, f := range files {
		if decides(f) || path.Base(f.path) == "plan.go" {
			found = append(found, reachingOut(f)...)
		}
		seen := map[string]bool{f.dir: true}
		for _, imports := range f.imports {
			if !decides(f) {
				break
			}
			for _, reaches := range beyond(imports.path, packages, seen) {
				found = append(found, f.breach(imports.pos, "imports %s: %s", imports.path, reaches))
			}
		}
	}
	return found
}

// beyond finds what reaches out in a package of ours and in what that imports, but for the packages that were seen.
func beyond(imported string, packages map[string][]*file, seen map[string]bool) []breach {
	dir, ours := strings.CutPrefix(imported, module+"/")
	if !ours || seen[dir] {
		return nil
	}
	seen[dir] = true
	var found []breach
	for _, f := range packages[dir] {
		found = append(found, reachingOut(f)...)
		for _, imports := range f.imports {
			found = append(found, beyond(imports.path, packages, seen)...)
		}
	}
	return found
}

// reachingOut finds what reaches out of the arguments of a file's functions.
func reachingOut(f *file) []breach {
	found := f.calls("time", "Now", "Since", "Until", "After", "Sleep", "NewTimer", "NewTicker", "AfterFunc", "Tick")
	for _, imports := range f.imports {
		is := func(prefix string) bool { return below(imports.path, prefix) }
		if !slices.ContainsFunc(worldly, is) || slices.ContainsFunc(pure, is) {
			continue
		}
		if imports.path == "net" && f.usesOnly("net", harmless) {
			continue
		}
		found = append(found, f.breach(imports.pos, "imports %s", imports.path))
	}
	return found
}

// usesOnly says whether a file uses nothing of a package but these names.
func (f *file) usesOnly(pkg string, names []string) bool {
	local, only := f.localName(pkg), true
	ast.Inspect(f.syntax, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok {
			on, ok := selector.X.(*ast.Ident)
			only = only && !(ok && on.Name == local && !slices.Contains(names, selector.Sel.Name))
		}
		return true
	})
	return only
}
