package kubetest

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestWritersMissWhatIsLost: an object that is gone, one that is as it was before, and one that nobody wrote so, each is said; one that
// was written though nobody was told is not.
func TestWritersMissWhatIsLost(t *testing.T) {
	config := Start(t)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	namespace := Namespace(t, config)
	maps := client.CoreV1().ConfigMaps(namespace)
	nobody := rest.CopyConfig(config)
	nobody.Host = "https://127.0.0.1:1"
	w, err := NewWriters(namespace, 4, time.Millisecond, nobody, config)
	if err != nil {
		t.Fatal(err)
	}
	lost := func() []string {
		t.Helper()
		lost, err := w.Check(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		return lost
	}
	write := func(p *page, update int) {
		t.Helper()
		is, err := maps.Get(t.Context(), p.name, metav1.GetOptions{})
		if err == nil {
			is.Data["update"] = strconv.Itoa(update)
			_, err = maps.Update(t.Context(), is, metav1.UpdateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	end := w.Begin(t.Context())
	deadline := time.Now().Add(time.Minute)
	for all := 0; all < 40 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		list, err := maps.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		all = len(list.Items)
	}
	spell := end()
	t.Log(spell)
	if spell.Created < 40 || spell.Updated == 0 || spell.Failed == 0 || spell.Pause < spell.Silence {
		t.Errorf("four writers, two of whom asked nobody first: %+v", spell)
	}
	if lost := lost(); len(lost) > 0 {
		t.Fatalf("nothing was touched, and lost is %q", lost)
	}

	late := w.writers[0].pages[0]
	late.tried++
	write(late, late.tried)
	late.now = nil // as when no answer came
	if lost := lost(); len(lost) > 0 {
		t.Errorf("written, and not acknowledged: lost is %q", lost)
	}
	if err := w.writers[0].update(t.Context(), late); err != nil {
		t.Errorf("going on after that: %v", err)
	}

	gone, back, strange := w.writers[1].pages[0], w.writers[2].pages[0], w.writers[3].pages[0]
	if err := maps.Delete(t.Context(), gone.name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	was := back.acked
	write(back, was-1)
	last := strange.tried
	write(strange, last+9)
	want := []string{
		gone.name + " was created, and is not there",
		fmt.Sprintf("%s has update %d, though %d was acknowledged", back.name, was-1, was),
		fmt.Sprintf("%s has update %d, though %d was the last one", strange.name, last+9, last),
	}
	if diff := cmp.Diff(want, lost()); diff != "" {
		t.Errorf("what is lost (-want +got):\n%s", diff)
	}
	for n, p := range []*page{gone, back, strange} {
		one := w.writers[n+1]
		if err := one.update(t.Context(), p); err == nil || one.unsure != p {
			t.Errorf("%s was updated from what it was before: %v", p.name, err)
		}
		if err := one.write(t.Context()); err != nil {
			t.Errorf("%s: going on: %v", p.name, err)
		}
	}
	want[2] = fmt.Sprintf("%s has update %d, though %d was the last one", strange.name, last+9, last+1) // which was refused
	if diff := cmp.Diff(want, lost()); diff != "" {
		t.Errorf("what writers noticed that is lost (-want +got):\n%s", diff)
	}
}
