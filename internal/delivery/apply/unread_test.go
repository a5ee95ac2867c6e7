package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
)

// file is one of a package's on the agent's disk.
func (s *station) file(pkg, name string) string {
	return filepath.Join(s.dir, "packages", v1alpha1.PackageKey(pkg).LabelValue(), name)
}

// breakages are ways in which a file cannot be read. Tests run as root, to whom no file is forbidden: reading a folder in its place fails as a
// broken disk does.
var breakages = map[string]func(path string) error{
	"garbage":   func(path string) error { return os.WriteFile(path, []byte("\x00\x00garbage\n"), 0o600) },
	"truncated": func(path string) error { return cutOff(path) },
	"a line less": func(path string) error {
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		last := bytes.LastIndexByte(bytes.TrimSuffix(raw, []byte("\n")), '\n')
		return os.WriteFile(path, raw[:last+1], 0o600) // nothing, of a file of one line
	},
	"empty": func(path string) error { return os.WriteFile(path, nil, 0o600) },
	"an empty object": func(path string) error {
		return os.WriteFile(path, []byte("{}"), 0o600)
	},
	"an I/O error": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
}

func cutOff(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw[:len(raw)/2], 0o600)
}

// standsStill waits until a package says that it does, and names the file.
func (s *station) standsStill(pkg, release, file string) {
	s.t.Helper()
	s.eventually("the package stands still", func() error {
		status := s.status(pkg)
		if status.GetPhase() != wire.PackageStatus_FAILED || status.GetRelease() != release || !strings.Contains(status.GetMessage(), file) ||
			!strings.Contains(status.GetMessage(), "nothing of the package is applied or deleted") {
			return fmt.Errorf("it is %v", status)
		}
		return nil
	})
}

// TestAnOrderThatCannotBeRead stops its own package and nothing else. Nothing is deleted, nothing of it is pruned by others either, the
// file stays as it is, and the hub's word heals it, as a good copy of the file does.
func TestAnOrderThatCannotBeRead(t *testing.T) {
	for name, breaks := range breakages {
		t.Run(name, func(t *testing.T) {
			s := newStation(t)
			s.vault = &box{key: "agent"}
			s.start()
			broken, other, gone := s.namespace+"/broken", s.namespace+"/other", s.namespace+"/gone"
			b1 := s.release(broken, "b1", s.configMap("b", map[string]string{"v": "1"}))
			s.assign(b1, s.release(other, "o1", s.configMap("o", map[string]string{"v": "1"}), s.configMap("leaves", nil)), s.release(gone, "g1", s.configMap("g", nil)))
			for pkg, release := range map[string]string{broken: "b1", other: "o1", gone: "g1"} {
				s.reaches(pkg, release, wire.PackageStatus_APPLIED)
			}
			s.stop()
			file := s.file(broken, "order.json")
			good, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := breaks(file); err != nil {
				t.Fatal(err)
			}
			bad, _ := os.ReadFile(file)

			uid := s.uid("b")
			s.start()
			s.standsStill(broken, "", file)
			s.remove("o") // the others are repaired
			s.hasData("o", map[string]string{"v": "1"})
			s.assign(s.release(other, "o2", s.configMap("o", map[string]string{"v": "2"})))
			s.hasData("o", map[string]string{"v": "2"})
			s.unassign(gone)
			s.eventually("others wait to prune", func() error {
				for _, pkg := range []string{other, gone} {
					if m := s.status(pkg).GetMessage(); !strings.Contains(m, broken+" (which cannot be read on the agent's disk)") {
						return fmt.Errorf("%s says %q", pkg, m)
					}
				}
				return nil
			})
			for _, name := range []string{"b", "leaves", "g"} {
				if _, err := s.getConfigMap(name); err != nil {
					t.Errorf("it is gone: %v", err)
				}
			}
			if now, _ := os.ReadFile(file); string(now) != string(bad) {
				t.Errorf("the file was written over: %q, before it was %q", now, bad)
			}

			if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, good, 0o600)); err != nil {
				t.Fatal(err)
			}
			s.reaches(broken, "b1", wire.PackageStatus_APPLIED)
			s.lacks("leaves")
			s.lacks("g")
			if s.uid("b") != uid {
				t.Error("it was made anew")
			}
			if name == "an I/O error" { // nobody can write such a file, the hub neither
				return
			}
			s.stop()
			if err := breaks(file); err != nil {
				t.Fatal(err)
			}
			s.start()
			s.standsStill(broken, "", file)
			s.assign(b1)
			s.reaches(broken, "b1", wire.PackageStatus_APPLIED)
			if s.uid("b") != uid {
				t.Error("it was made anew")
			}
			s.unassign(broken, other)
			s.holdsNothing()
			s.lacks("b")
		})
	}
}

// TestNoCodeForWhatCannotBeRead: the first start that gives codes to orders writes none over an order that it cannot read. What is
// brought back has none either, so that the hub is asked.
func TestNoCodeForWhatCannotBeRead(t *testing.T) {
	s := newStation(t)
	s.start()
	pkg := s.namespace + "/web"
	r1 := s.release(pkg, "r1", s.configMap("a", nil))
	s.assign(r1)
	s.reaches(pkg, "r1", wire.PackageStatus_APPLIED)
	s.stop()
	file := s.file(pkg, "order.json")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := cutOff(file); err != nil {
		t.Fatal(err)
	}
	s.vault = &box{key: "agent"}
	s.start()
	s.standsStill(pkg, "", file)
	if now, err := os.ReadFile(file); err != nil || string(now) != string(good[:len(good)/2]) {
		t.Errorf("it was written over: %q, %v", now, err)
	}
	s.stop()
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.refusesUnsealed(pkg, "", "", "written by somebody else")
	s.hasData("a", nil)
	s.assign(r1)
	s.reaches(pkg, "r1", wire.PackageStatus_APPLIED)
}

// TestAnInventoryThatCannotBeRead: what the package put here is not known, so nothing of it is written or deleted, whatever it is told,
// until the file is back.
func TestAnInventoryThatCannotBeRead(t *testing.T) {
	for name, breaks := range breakages {
		for _, kind := range []string{"inventory.jsonl", "journal.jsonl"} {
			if kind == "journal.jsonl" && name != "an I/O error" {
				continue // lines that count for nothing
			}
			t.Run(name+" in "+kind, func(t *testing.T) {
				t.Parallel() // they wait for one more attempt
				s := newStation(t)
				s.start()
				broken, other := s.namespace+"/broken", s.namespace+"/other"
				s.assign(s.release(broken, "b1", s.configMap("b", nil), s.configMap("leaves", nil)), s.release(other, "o1", s.configMap("o", nil), s.configMap("p", nil)))
				s.reaches(broken, "b1", wire.PackageStatus_APPLIED)
				s.reaches(other, "o1", wire.PackageStatus_APPLIED)
				s.stop()
				file := s.file(broken, kind)
				good, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := breaks(file); err != nil {
					t.Fatal(err)
				}
				s.start()
				s.standsStill(broken, "b1", file)
				// Neither a new release nor its end has anything of it deleted.
				s.assign(s.release(broken, "b2", s.configMap("b", nil)), s.release(other, "o2", s.configMap("o", map[string]string{"v": "2"})))
				s.standsStill(broken, "b2", file)
				s.hasData("o", map[string]string{"v": "2"})
				s.unassign(broken)
				s.eventually("it cannot go", func() error {
					if status := s.status(broken); status.GetPhase() != wire.PackageStatus_REMOVING || !strings.Contains(status.GetMessage(), file) {
						return fmt.Errorf("it is %v", status)
					}
					return nil
				})
				for _, name := range []string{"b", "leaves", "p"} {
					if _, err := s.getConfigMap(name); err != nil {
						t.Errorf("it is gone: %v", err)
					}
				}
				if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, good, 0o600)); err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"b", "leaves", "p"} {
					s.lacks(name)
				}
				s.reaches(other, "o2", wire.PackageStatus_APPLIED)
			})
		}
	}
}

// TestATeamsInventoryThatCannotBeRead: a team's Namespace stays while it is not known what another team has in it, and because of what
// that has there once it is.
func TestATeamsInventoryThatCannotBeRead(t *testing.T) {
	s := newStation(t)
	s.start()
	landlord, tenant := s.almighty("landlord"), s.almighty("tenant")
	name := s.namespace + "-shared"
	space := object("v1", "Namespace", "", name, "")
	s.assign(acting(s.release("a/spaces", "r1", space, s.configMap("a", nil)), landlord))
	s.reaches("a/spaces", "r1", wire.PackageStatus_APPLIED)
	b1 := acting(s.release("b/web", "r1", object("v1", "ConfigMap", name, "theirs", "")), tenant)
	s.assign(b1)
	s.reaches("b/web", "r1", wire.PackageStatus_APPLIED)
	s.stop()
	file := s.file("b/web", "inventory.jsonl")
	good, err := os.ReadFile(file)
	if err := errors.Join(err, cutOff(file)); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.standsStill("b/web", "r1", file)
	s.assign(acting(s.release("a/spaces", "r2", s.configMap("a", nil)), landlord))
	waits := func(text string) {
		t.Helper()
		s.eventually("the Namespace stays", func() error {
			ns, err := s.client.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
			if err != nil || ns.DeletionTimestamp != nil {
				t.Fatalf("it was deleted: %v", err)
			}
			if m := s.status("a/spaces").GetMessage(); !strings.Contains(m, text) {
				return fmt.Errorf("it says %q", m)
			}
			return nil
		})
	}
	waits("b/web (which cannot be read on the agent's disk)")
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	s.reaches("b/web", "r1", wire.PackageStatus_APPLIED)
	waits("for package b/web to give up ConfigMap " + name + "/theirs")
	s.unassign("b/web", "a/spaces")
	s.holdsNothing()
}

// almighty is an account that may do everything on the member, with a right of its own.
func (s *station) almighty(name string) *wire.ServiceAccount {
	s.t.Helper()
	account := s.team(name)
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: s.namespace + "-" + name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.GetNamespace(), Name: account.GetName()}},
	}
	bindings := s.client.RbacV1().ClusterRoleBindings()
	if _, err := bindings.Create(s.t.Context(), binding, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = bindings.Delete(context.Background(), binding.Name, metav1.DeleteOptions{}) })
	return account
}

// TestWhatIsHereIsRepairedOnceItCanBeRead, though the next release cannot be had.
func TestWhatIsHereIsRepairedOnceItCanBeRead(t *testing.T) {
	for _, kind := range []string{"order.json", "inventory.jsonl"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel() // they wait for one more attempt
			s := newStation(t)
			s.start()
			pkg, data := s.namespace+"/web", map[string]string{"v": "1"}
			s.assign(s.release(pkg, "r1", s.configMap("a", data), s.configMap("b", data)))
			s.reaches(pkg, "r1", wire.PackageStatus_APPLIED)
			s.offline.Store(true)
			s.assign(s.release(pkg, "r2", s.configMap("a", map[string]string{"v": "2"})))
			s.reaches(pkg, "r2", wire.PackageStatus_FAILED)
			s.stop()
			file := s.file(pkg, kind)
			good, err := os.ReadFile(file)
			if err := errors.Join(err, breakages["garbage"](file)); err != nil {
				t.Fatal(err)
			}
			s.start()
			s.eventually("it stands still", func() error {
				if m := s.status(pkg).GetMessage(); !strings.Contains(m, file) {
					return fmt.Errorf("it says %q", m)
				}
				return nil
			})
			s.remove("a")
			if err := os.WriteFile(file, good, 0o600); err != nil {
				t.Fatal(err)
			}
			s.hasData("a", data)
			s.remove("b")
			s.hasData("b", data)
			s.offline.Store(false)
			s.reaches(pkg, "r2", wire.PackageStatus_APPLIED)
			s.hasData("a", map[string]string{"v": "2"})
			s.lacks("b")
		})
	}
}

// TestOthersHearThatAnOrderCanBeRead also when it is the hub's word that has it read, and that says nothing new.
func TestOthersHearThatAnOrderCanBeRead(t *testing.T) {
	s := newStation(t)
	s.start()
	pkg, other := s.namespace+"/web", s.namespace+"/other"
	r1 := s.release(pkg, "r1", s.configMap("a", nil))
	s.assign(r1, s.release(other, "o1", s.configMap("o", nil)))
	s.reaches(pkg, "r1", wire.PackageStatus_APPLIED)
	s.reaches(other, "o1", wire.PackageStatus_APPLIED)
	s.stop()
	file := s.file(pkg, "order.json")
	good, err := os.ReadFile(file)
	if err := errors.Join(err, cutOff(file)); err != nil {
		t.Fatal(err)
	}
	s.open() // and no loop runs
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	waiting := s.engine.roster.get(v1alpha1.PackageKey(other))
	waiting.expect()
	s.assign(r1)
	for who, kick := range map[string]chan struct{}{
		"the package": s.engine.roster.get(v1alpha1.PackageKey(pkg)).kick, "who waits for it": waiting.kick, "guards": s.engine.guards.kick,
	} {
		select {
		case <-kick:
		default:
			t.Errorf("%s did not hear of it", who)
		}
	}
}

// TestContentThatCannotBeRead is pulled again, and meanwhile the release that is on the cluster stays.
func TestContentThatCannotBeRead(t *testing.T) {
	for name, breaks := range breakages {
		if name == "an I/O error" {
			continue // what cannot be read so cannot be written here either
		}
		t.Run(name, func(t *testing.T) {
			s := newStation(t)
			s.start()
			pkg := s.namespace + "/web"
			a := s.release(pkg, "r1", s.configMap("a", nil))
			s.assign(a)
			s.reaches(pkg, "r1", wire.PackageStatus_APPLIED)
			s.stop()
			uid := s.uid("a")
			if err := breaks(s.file(pkg, strings.TrimPrefix(a.GetDigest(), "sha256:")+".zst")); err != nil {
				t.Fatal(err)
			}
			s.start()
			s.reaches(pkg, "r1", wire.PackageStatus_APPLIED)
			if s.uid("a") != uid {
				t.Error("it was made anew")
			}
		})
	}
}

// TestAFolderThatSaysNotWhoseItIs: a name too long for a label is cut there, so that it stands in a file. Where that is gone as well,
// nothing of other packages is pruned until the hub names the package.
func TestAFolderThatSaysNotWhoseItIs(t *testing.T) {
	s := newStation(t)
	s.start()
	long, other := s.namespace+"/"+strings.Repeat("long-", 15)+"name", s.namespace+"/other"
	l1 := s.release(long, "l1", s.configMap("l", nil))
	s.assign(l1, s.release(other, "o1", s.configMap("o", nil), s.configMap("leaves", nil)))
	s.reaches(long, "l1", wire.PackageStatus_APPLIED)
	s.reaches(other, "o1", wire.PackageStatus_APPLIED)
	s.stop()
	file := s.file(long, "order.json")
	if err := breakages["garbage"](file); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.standsStill(long, "", file)
	s.stop()
	if err := os.Remove(s.file(long, "package")); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.assign(s.release(other, "o2", s.configMap("o", map[string]string{"v": "2"})))
	s.hasData("o", map[string]string{"v": "2"})
	s.eventually("it waits to prune", func() error {
		if m := s.status(other).GetMessage(); !strings.Contains(m, filepath.Dir(file)+" (which cannot be read)") {
			return fmt.Errorf("it says %q", m)
		}
		return nil
	})
	if _, err := s.getConfigMap("leaves"); err != nil {
		t.Error(err)
	}
	s.assign(l1)
	s.reaches(long, "l1", wire.PackageStatus_APPLIED)
	s.lacks("leaves")
}

// TestALostFolderWhosePackageIsRefused is found all the same when the hub names the package once more, be it that it is to go.
func TestALostFolderWhosePackageIsRefused(t *testing.T) {
	for _, then := range []string{"a good release", "its end"} {
		t.Run(then, func(t *testing.T) {
			s := newStation(t)
			s.verify = believing
			s.start()
			long, other := s.namespace+"/"+strings.Repeat("long-", 15)+"name", s.namespace+"/other"
			guarding := &wire.Policy{Prevention: &wire.Prevention{Source: "git"}}
			l1 := sealed(under(s.release(long, "l1", s.configMap("l", nil), s.configMap("k", nil)), guarding, "p"))
			s.assign(l1, sealed(s.release(other, "o1", s.configMap("o", nil), s.configMap("leaves", nil))))
			s.reaches(long, "l1", wire.PackageStatus_APPLIED)
			s.reaches(other, "o1", wire.PackageStatus_APPLIED)
			s.stop()
			if err := errors.Join(cutOff(s.file(long, "order.json")), os.Remove(s.file(long, "package"))); err != nil {
				t.Fatal(err)
			}
			uid, guard := s.uid("l"), s.guardOf(long)
			s.start()
			s.assign(s.release(long, "evil", s.configMap("l", nil)))
			s.refusesUnsealed(long, "evil", "", "this hub sealed what it said before")
			s.assign(sealed(s.release(other, "o2", s.configMap("o", nil))))
			s.eventually("others wait to prune", func() error {
				if m := s.status(other).GetMessage(); !strings.Contains(m, "(which cannot be read)") {
					return fmt.Errorf("it says %q", m)
				}
				return nil
			})
			if then == "its end" {
				s.unassign(long)
				s.lacks("l")
				s.lacks("k")
				s.lacks("leaves")
				s.unguarded()
				return
			}
			guarding.DeleteApprovals = approving("l2", 1, 1).GetDeleteApprovals()
			s.assign(sealed(under(s.release(long, "l2", s.configMap("l", nil)), guarding, "q")))
			s.reaches(long, "l2", wire.PackageStatus_APPLIED)
			s.reaches(other, "o2", wire.PackageStatus_APPLIED)
			s.lacks("leaves")
			s.lacks("k") // what it had is known
			if s.uid("l") != uid {
				t.Error("it was made anew")
			}
			if now := s.guardOf(long); now != guard {
				t.Errorf("the guard was changed to %s, from %s", now, guard)
			}
		})
	}
}

// TestNoGuardGoesWithAnOrder: while it is not known what a package asks for, its guard stays.
func TestNoGuardGoesWithAnOrder(t *testing.T) {
	s := newStation(t)
	s.start()
	pkg, other := s.namespace+"/web", s.namespace+"/other"
	guarded := under(s.release(pkg, "r1", s.configMap("a", nil)), &wire.Policy{Prevention: &wire.Prevention{Source: "git"}}, "p")
	s.assign(guarded, s.release(other, "o1", s.configMap("o", nil)))
	s.reaches(pkg, "r1", wire.PackageStatus_APPLIED)
	s.reaches(other, "o1", wire.PackageStatus_APPLIED)
	before := s.guardOf(pkg)
	s.stop()
	if err := breakages["truncated"](s.file(pkg, "order.json")); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.standsStill(pkg, "", "order.json")
	s.assign(s.release(other, "o2", s.configMap("o", map[string]string{"v": "2"})))
	s.reaches(other, "o2", wire.PackageStatus_APPLIED)
	if now := s.guardOf(pkg); now != before {
		t.Errorf("the guard was changed to %s, from %s", now, before)
	}
	s.assign(guarded)
	s.reaches(pkg, "r1", wire.PackageStatus_APPLIED)
	if now := s.guardOf(pkg); now != before {
		t.Errorf("when the order was known again the guard was changed to %s, from %s", now, before)
	}
	s.unassign(pkg, other)
	s.holdsNothing()
}

// TestNoGuardGoesWithAnInventory: the guard stays when the order is known again, be it by a good copy or by the hub, though the package
// stands still for something else; and others' are written.
func TestNoGuardGoesWithAnInventory(t *testing.T) {
	for _, by := range []string{"a good copy", "the hub"} {
		t.Run(by, func(t *testing.T) {
			s := newStation(t)
			s.start()
			pkg, other := s.namespace+"/web", s.namespace+"/other"
			guarding := &wire.Policy{Prevention: &wire.Prevention{Source: "git"}}
			guarded := under(s.release(pkg, "r1", s.configMap("a", nil)), guarding, "p")
			s.assign(guarded)
			s.reaches(pkg, "r1", wire.PackageStatus_APPLIED)
			before := s.guardOf(pkg)
			s.stop()
			order, inventory := s.file(pkg, "order.json"), s.file(pkg, "inventory.jsonl")
			goodOrder, unordered := os.ReadFile(order)
			goodInventory, unlisted := os.ReadFile(inventory)
			if err := errors.Join(unordered, unlisted, cutOff(order), cutOff(inventory)); err != nil {
				t.Fatal(err)
			}
			s.start()
			s.standsStill(pkg, "", "order.json")
			if by == "the hub" {
				s.assign(guarded)
			} else if err := os.WriteFile(order, goodOrder, 0o600); err != nil {
				t.Fatal(err)
			}
			s.standsStill(pkg, "r1", "inventory.jsonl")
			s.assign(under(s.release(other, "o1", s.configMap("o", nil)), guarding, "p"))
			s.reaches(other, "o1", wire.PackageStatus_APPLIED) // guards were written
			s.guardOf(other)
			if now := s.guardOf(pkg); strings.Split(now, "/")[0] != strings.Split(before, "/")[0] {
				t.Errorf("the guard was taken away and made anew: it is %s, was %s", now, before)
			}
			if err := os.WriteFile(inventory, goodInventory, 0o600); err != nil {
				t.Fatal(err)
			}
			s.reaches(pkg, "r1", wire.PackageStatus_APPLIED)
			s.unassign(pkg, other)
			s.holdsNothing()
			s.unguarded()
		})
	}
}

// TestStrayThingsAmongPackages: what is no package's folder stops nothing, and stays.
func TestStrayThingsAmongPackages(t *testing.T) {
	root := t.TempDir()
	for _, stray := range []string{"a-file", "shop.left/inventory.jsonl"} {
		path := filepath.Join(root, stray)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("garbage"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	folders, err := disk.List(root)
	if err != nil || len(folders) > 0 {
		t.Errorf("%v, %v", folders, err)
	}
	for _, stray := range []string{"a-file", "shop.left/inventory.jsonl"} {
		if _, err := os.Stat(filepath.Join(root, stray)); err != nil {
			t.Error(err)
		}
	}
}

// guardOf is the guard of a package, by its uid, generation and whose it is.
func (s *station) guardOf(pkg string) string {
	s.t.Helper()
	policy, err := s.client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(s.t.Context(), "umbel-drift-0", metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	rules := policy.Spec.Variables[0]
	if label := v1alpha1.PackageKey(pkg).LabelValue(); rules.Name != "rules" || !strings.Contains(rules.Expression, label) {
		s.t.Fatalf("it does not guard %s: %s", label, rules.Expression)
	}
	return fmt.Sprintf("%s/%d %s", policy.UID, policy.Generation, rules.Expression)
}

// TestTheJournalOfDeletionsCannotBeOpened: packages are applied and repaired all the same. Nothing is pruned or brought back, since
// nothing could be kept, and nothing is said of deletions; when it can be opened again, all of that goes on.
func TestTheJournalOfDeletionsCannotBeOpened(t *testing.T) {
	s := newStation(t)
	s.start()
	pkg := s.namespace + "/web"
	s.assign(s.release(pkg, "one", s.configMap("stays", map[string]string{"v": "1"}), s.configMap("first", nil), s.configMap("leaves", nil)))
	s.reaches(pkg, "one", wire.PackageStatus_APPLIED)
	s.assign(s.release(pkg, "two", s.configMap("stays", map[string]string{"v": "1"}), s.configMap("leaves", nil)))
	s.reaches(pkg, "two", wire.PackageStatus_APPLIED)
	s.lacks("first")
	deleted := s.engine.deletions.List()
	if len(deleted) != 1 {
		t.Fatalf("deleted was %v", deleted)
	}
	s.stop()
	folder, aside := filepath.Join(s.dir, DeletedDir), filepath.Join(s.dir, "aside")
	if err := errors.Join(os.Rename(folder, aside), os.WriteFile(folder, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.remove("stays")
	s.hasData("stays", map[string]string{"v": "1"})
	s.assign(s.release(pkg, "three", s.configMap("stays", map[string]string{"v": "3"})))
	s.hasData("stays", map[string]string{"v": "3"})
	s.eventually("it says why nothing is pruned", func() error {
		if m := s.status(pkg).GetMessage(); !strings.Contains(m, "opening the journal of deletions") || !strings.Contains(m, folder) {
			return fmt.Errorf("it says %q", m)
		}
		return nil
	})
	if _, err := s.getConfigMap("leaves"); err != nil {
		t.Errorf("it was pruned: %v", err)
	}
	undo := &wire.DesiredState{Undo: []string{deleted[0].ID}}
	if err := s.engine.Store(t.Context(), undo); err == nil || !strings.Contains(err.Error(), "opening the journal of deletions") {
		t.Errorf("to undo without a journal: %v", err)
	}
	s.engine.Held() // the hub asks for everything
	if report := s.engine.Take(); report.GetDeletions() != nil {
		t.Errorf("it is said that there are %v", report.GetDeletions())
	}

	// At once: a folder that is missing is made anew, and an empty one knows of no deletion.
	if err := unix.Renameat2(unix.AT_FDCWD, aside, unix.AT_FDCWD, folder, unix.RENAME_EXCHANGE); err != nil {
		t.Fatal(err)
	}
	s.lacks("leaves")
	if err := s.engine.Store(t.Context(), undo); err != nil {
		t.Fatal(err)
	}
	s.hasData("first", nil)
	s.eventually("both deletions are told", func() error {
		if list := s.engine.journal().GetItems(); len(list) != 2 {
			return fmt.Errorf("told are %v", list)
		}
		return nil
	})
}

// TestNobodyTakesWhatAnUnreadInventoryMayHave: of two packages that want one object, the one that has it keeps it also while its
// inventory cannot be read: the object says whose it is. When somebody has taken that off the object, or has it say
// another, it is nobody else's for that.
func TestNobodyTakesWhatAnUnreadInventoryMayHave(t *testing.T) {
	s := newStation(t)
	s.start()
	has, wants := s.namespace+"/has", s.namespace+"/wants"
	s.assign(s.release(has, "h1", s.configMap("both", map[string]string{"of": "has"})))
	s.reaches(has, "h1", wire.PackageStatus_APPLIED)
	s.assign(s.release(wants, "w1", s.configMap("both", map[string]string{"of": "wants"}), s.configMap("own", nil)))
	refused := func(text string) {
		t.Helper()
		s.eventually("it is refused", func() error {
			if f := s.status(wants).GetFailures(); len(f) != 1 || !strings.Contains(f[0].GetMessage(), text) {
				return fmt.Errorf("it says %v", f)
			}
			return nil
		})
	}
	refused("it belongs to package " + has)
	uid := s.uid("both")
	s.stop()
	file := s.file(has, "inventory.jsonl")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := breakages["a line less"](file); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.standsStill(has, "h1", file)
	refused("it may be of package " + has)
	for _, label := range []string{"", v1alpha1.PackageKey(wants).LabelValue()} {
		s.stop()
		s.update("both", func(cm *corev1.ConfigMap) {
			if delete(cm.Labels, v1alpha1.PackageLabel); label != "" {
				cm.Labels = map[string]string{v1alpha1.PackageLabel: label}
			}
		})
		s.start()
		s.standsStill(has, "h1", file)
		refused("it may be of another package, of which the agent cannot read what it put here")
	}
	s.remove("own") // what is its own it repairs
	s.hasData("own", nil)
	s.hasData("both", map[string]string{"of": "has"})
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	s.reaches(has, "h1", wire.PackageStatus_APPLIED)
	s.assign(s.release(has, "h2", s.configMap("both", map[string]string{"of": "has", "now": "2"})))
	s.hasData("both", map[string]string{"of": "has", "now": "2"})
	refused("it belongs to package " + has)
	if s.uid("both") != uid {
		t.Error("it was made anew")
	}
}
