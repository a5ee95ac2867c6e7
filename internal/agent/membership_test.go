package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestAMemberLeavesAndJoinsAnew(t *testing.T) {
	f := newFleet(t)
	f.join()
	f.start()
	f.ready()
	f.must(f.client.Delete(t.Context(), f.wanted.DeepCopy()))
	f.eventually("what it holds is put back", f.object)

	f.leave()
	f.left()
	f.uninstalled()
	f.must(f.object()) // it stays

	f.join() // the same process takes it up
	f.ready()
	f.must(f.client.Delete(t.Context(), f.wanted.DeepCopy()))
	f.eventually("what it holds is put back again", f.object)
}

func TestAMemberLeavesAndWhatItHeldIsPruned(t *testing.T) {
	f := newFleet(t)
	f.join()
	f.start()
	f.ready()
	f.change(func(m *v1alpha1.MemberCluster) { m.Spec.DeletionPolicy = v1alpha1.DeletionPrune })
	f.leave()
	f.left()
	f.uninstalled()
	f.must(absent(f.object()))
}

// From when the agent has let go it repairs nothing, also in its next life, and it takes itself away when the hub says
// that it is no member.
func TestWhoHasLetGoRepairsNothing(t *testing.T) {
	f := newFleet(t)
	f.join()
	f.start()
	f.ready()
	f.letsGo()
	f.must(f.client.Delete(t.Context(), f.wanted.DeepCopy()))
	f.kill()
	f.start()
	f.eventually("the agent is in session", func() error {
		var member v1alpha1.MemberCluster
		f.must(f.client.Get(t.Context(), client.ObjectKey{Name: string(cluster)}, &member))
		if !meta.IsStatusConditionTrue(member.Status.Conditions, v1alpha1.ConditionConnected) {
			return fmt.Errorf("it is %+v", member.Status.Conditions)
		}
		return nil
	})
	f.change(func(m *v1alpha1.MemberCluster) { m.Finalizers = nil })
	f.uninstalled()
	f.must(absent(f.object()))
}

// Killed while it takes itself away, the agent does the rest the next time.
func TestUninstallingIsRepeated(t *testing.T) {
	for reason, before := range map[string]func(f *fleet){
		"nothing was done yet": func(*fleet) {},
		"the Namespace is gone": func(f *fleet) {
			f.must(f.memberAPI().uninstall(f.t.Context()))
			f.finishNamespace(f.t.Context())
		},
		"so is a part of the folder": func(f *fleet) {
			f.must(f.memberAPI().uninstall(f.t.Context()))
			f.finishNamespace(f.t.Context())
			f.must((&membership{Options: Options{Dir: f.dir}}).forget(packagesDir, identityDir))
		},
	} {
		t.Run(reason, func(t *testing.T) {
			f := newFleet(t)
			f.join()
			f.start()
			f.ready()
			f.letsGo()
			f.kill()
			f.change(func(m *v1alpha1.MemberCluster) { m.Finalizers = nil })
			before(f)
			f.start()
			f.uninstalled()
		})
	}
}

// Somebody joins the cluster anew while its agent is about to take itself away: what was installed just now stays.
func TestWhatAnotherJoinInstalledStays(t *testing.T) {
	f := newFleet(t)
	f.join()
	raw, err := os.ReadFile(filepath.Join(f.dir, "bootstrap.json"))
	f.must(err)
	f.start()
	f.ready()
	f.letsGo()
	f.kill()
	f.change(func(m *v1alpha1.MemberCluster) { m.Finalizers = nil })
	f.left()
	f.join()
	anew, err := os.ReadFile(filepath.Join(f.dir, "bootstrap.json"))
	f.must(err)
	f.hand(raw) // it comes last, and is on its way
	f.start()
	f.eventually("the agent has heard that it is no member", func() error {
		if !f.journal.says("being joined anew") {
			return errors.New("its log does not say so")
		}
		return nil
	})
	f.hand(anew)
	f.ready()
	if boot, err := f.memberAPI().installed(t.Context()); err != nil || boot == nil {
		t.Errorf("what was installed is gone: %v, %v", boot, err)
	}
}

// What the agent let go of and could not forget any more does not come back with another membership.
func TestAnEarlierFarewell(t *testing.T) {
	order := filepath.Join(packagesDir, "shop.web", "order.json")
	now := v1alpha1.Bootstrap{Cluster: cluster, Address: "192.0.2.1:7443", Token: "now"}
	moved := now
	moved.Address = "192.0.2.2:7443"
	for _, c := range []struct {
		reason string
		said   farewell
		letGo  bool
		holds  bool
	}{
		{"none", farewell{}, false, true},
		{"of this membership", farewellOf(now), true, true},
		{"of this membership, when its hub had another address", farewellOf(moved), true, true},
		{"of one before", farewellOf(v1alpha1.Bootstrap{Cluster: cluster, Token: "before"}), false, false},
		{"under another name", farewellOf(v1alpha1.Bootstrap{Cluster: "other", Token: "now"}), false, false},
	} {
		m := &membership{Options: Options{Dir: t.TempDir(), Config: &rest.Config{}, Log: slog.New(slog.DiscardHandler)}, boot: now}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(m.Dir, order)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(m.Dir, order), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := m.farewells().save(t.Context(), c.said); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			letGo, err := m.hasLetGo(t.Context())
			if err != nil || letGo != c.letGo {
				t.Errorf("%s: has let go: %t, %v, want %t", c.reason, letGo, err, c.letGo)
			}
		}
		_, err := os.Stat(filepath.Join(m.Dir, order))
		if got := !errors.Is(err, fs.ErrNotExist); got != c.holds {
			t.Errorf("%s: it holds what it held: %t, want %t", c.reason, got, c.holds)
		}
	}
}

// TestFarewellHome is what every farewellHome has to do.
func TestFarewellHome(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (home farewellHome, damage func()){
		"file": func(t *testing.T) (farewellHome, func()) {
			path := filepath.Join(t.TempDir(), farewellName)
			return farewellFile(path), func() {
				if err := os.WriteFile(path, []byte(`{"clus`), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
		"ConfigMap": func(t *testing.T) (farewellHome, func()) {
			client, err := kubernetes.NewForConfig(emptyMember(t))
			if err != nil {
				t.Fatal(err)
			}
			return farewellMap{client, slog.New(slog.DiscardHandler)}, func() {
				maps := client.CoreV1().ConfigMaps(v1alpha1.AgentNamespace)
				state, err := maps.Get(t.Context(), stateConfigMap, metav1.GetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				state.Data = map[string]string{farewellKey: `{"clus`, stateKey: "folder"}
				if _, err := maps.Update(t.Context(), state, metav1.UpdateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			home, damage := open(t)
			expect := func(reason string, want farewell) {
				t.Helper()
				got, err := home.load(t.Context())
				if err != nil {
					t.Fatalf("%s: %v", reason, err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", reason, diff)
				}
			}
			save := func(f farewell) {
				t.Helper()
				for range 2 {
					if err := home.save(t.Context(), f); err != nil {
						t.Fatal(err)
					}
				}
			}
			one, two := farewellOf(v1alpha1.Bootstrap{Cluster: cluster, Token: "one"}), farewellOf(v1alpha1.Bootstrap{Cluster: cluster, Token: "two"})
			expect("nothing was said yet, and that is no error", farewell{})
			save(one)
			expect("what was said", one)
			save(two)
			expect("what was said last", two)
			damage()
			expect("what is damaged says nothing", farewell{})
			save(one)
			expect("said again", one)
			save(farewell{})
			expect("taken back", farewell{})
		})
	}
}
