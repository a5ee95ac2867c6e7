package disk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// writesHistory is the variable by which a process of this test does nothing but write a history, in the folder that it names.
const writesHistory = "UMBEL_TEST_HISTORY"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writesHistory); dir != "" {
		os.Exit(writeForever(dir))
	}
	os.Exit(m.Run())
}

// writeForever writes entries, and says of each that it is written.
func writeForever(dir string) int {
	history := OpenHistory(dir, 64<<10)
	for i := 0; ; i++ {
		id, err := history.Add(happened(i), time.Now())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(id)
	}
}

var epoch = time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)

// happened is an entry of the second i.
func happened(i int) v1alpha1.HistoryEntry {
	return v1alpha1.HistoryEntry{Package: "shop/web", Drift: v1alpha1.Drift{
		Object: fmt.Sprintf("ConfigMap shop/o-%d", i), Action: v1alpha1.DriftRepaired, By: "kubectl-edit", Fields: []string{"data.x"},
		Time: metav1.NewTime(epoch.Add(time.Duration(i) * time.Second)), Count: 1,
	}}
}

func readAll(t *testing.T, h *History, since time.Time) (all []v1alpha1.HistoryEntry) {
	t.Helper()
	err := h.Read(t.Context(), since, func(entry v1alpha1.HistoryEntry) error {
		if n := len(all); n > 0 && all[n-1].ID >= entry.ID {
			t.Fatalf("entry %d comes after %d", entry.ID, all[n-1].ID)
		}
		all = append(all, entry)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func add(t *testing.T, h *History, i int) int64 {
	t.Helper()
	id, err := h.Add(happened(i), epoch)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestAHistoryIsThereAfterAStart: with who did it, which was known later, from a time on; and the next process goes on with it.
func TestAHistoryIsThereAfterAStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	first := OpenHistory(dir, 1<<20)
	if all := readAll(t, first, time.Time{}); len(all) != 0 {
		t.Errorf("before anything happened there is %v", all)
	}
	add(t, first, 0)
	if err := first.Name(add(t, first, 1), "ada", "kubectl-edit"); err != nil {
		t.Fatal(err)
	}
	second := OpenHistory(dir, 1<<20)
	if _, err := second.Add(happened(2), epoch.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	all := readAll(t, second, time.Time{})
	if len(all) != 3 || all[0].User != "" || all[1].User != "ada" || all[2].Object != "ConfigMap shop/o-2" {
		t.Errorf("got %+v", all)
	}
	if late := readAll(t, second, epoch.Add(time.Second)); len(late) != 2 || late[0].User != "ada" {
		t.Errorf("since the second one there is %+v", late)
	}
	enough := errors.New("enough")
	if err := second.Read(t.Context(), time.Time{}, func(v1alpha1.HistoryEntry) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("who has read enough gets %v", err)
	}
}

// TestAHistoryAfterTheClockWasSetBack, between two processes: what happens later has the higher id all the same, also behind an entry that lacks
// nothing but the end of its line.
func TestAHistoryAfterTheClockWasSetBack(t *testing.T) {
	for _, cut := range []int64{0, 1} {
		dir := t.TempDir()
		first := OpenHistory(dir, 1<<20)
		add(t, first, 0)
		if _, err := first.Add(happened(1), epoch.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(dir, historyFile), size(t, dir)-cut); err != nil {
			t.Fatal(err)
		}
		second := OpenHistory(dir, 1<<20)
		if err := second.Name(add(t, second, 2), "ada", "kubectl-edit"); err != nil {
			t.Fatal(err)
		}
		if all := readAll(t, second, time.Time{}); len(all) != 3 || all[1].User != "" || all[2].User != "ada" { // which looks at the ids
			t.Errorf("without the last %d bytes: got %+v", cut, all)
		}
	}
}

// TestAHistoryIsReadNoFurther than somebody waits for it, also when nothing in it is to be told.
func TestAHistoryIsReadNoFurther(t *testing.T) {
	h := OpenHistory(t.TempDir(), 1<<20)
	for i := range 3 {
		add(t, h, i)
	}
	ctx, goes := context.WithCancel(t.Context())
	told := 0
	err := h.Read(ctx, time.Time{}, func(v1alpha1.HistoryEntry) error {
		told++
		goes()
		return nil
	})
	if !errors.Is(err, context.Canceled) || told != 1 {
		t.Errorf("who went away was told %d entries, and %v", told, err)
	}
	if err := h.Read(ctx, epoch.Add(time.Hour), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("who is gone and has nothing to be told gets %v", err)
	}
}

// TestAHistoryThatWasCutOff, at whichever byte: what was whole before is there, what comes after is, and nothing else.
func TestAHistoryThatWasCutOff(t *testing.T) {
	dir := t.TempDir()
	whole := OpenHistory(dir, 1<<20)
	for i := range 3 {
		add(t, whole, i)
	}
	raw, err := os.ReadFile(filepath.Join(dir, historyFile))
	if err != nil {
		t.Fatal(err)
	}
	for at := range len(raw) {
		cut := t.TempDir()
		if err := os.WriteFile(filepath.Join(cut, historyFile), raw[:at], 0o600); err != nil {
			t.Fatal(err)
		}
		h := OpenHistory(cut, 1<<20)
		before := strings.Count(string(raw[:at]), "\n")
		if at > 0 && raw[at] == '\n' {
			before++ // the line lacks nothing but its end
		}
		if all := readAll(t, h, time.Time{}); len(all) != before {
			t.Fatalf("cut off at byte %d, there are %d entries, want %d", at, len(all), before)
		}
		if _, err := h.Add(happened(9), epoch.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		all := readAll(t, h, time.Time{})
		if len(all) != before+1 || all[before].Object != "ConfigMap shop/o-9" {
			t.Fatalf("cut off at byte %d and gone on with, there is %+v, want %d and the new one", at, all, before)
		}
	}
}

// TestAWriterOfHistoryIsKilled at random instants, with SIGKILL: what it said that it wrote is there, of the last half at least.
func TestAWriterOfHistoryIsKilled(t *testing.T) {
	const seed, rounds, most = 20261128, 12, 64 << 10
	random := rand.New(rand.NewPCG(seed, 0))
	dir, last := t.TempDir(), int64(0)
	for round := range rounds {
		said := writeUntilKilled(t, dir, time.Duration(random.IntN(30))*time.Millisecond)
		if n := size(t, dir); n > most {
			t.Fatalf("round %d: it takes %d bytes, more than %d", round, n, most)
		}
		all := readAll(t, OpenHistory(dir, most), time.Time{})
		if len(all) == 0 || all[len(all)-1].ID < last {
			t.Fatalf("round %d: there are %d entries, and %d was the last before", round, len(all), last)
		}
		known := map[int64]bool{}
		for _, entry := range all {
			known[entry.ID] = true
		}
		for _, id := range said {
			if id >= all[0].ID && !known[id] {
				t.Fatalf("round %d: entry %d was written, and is not there", round, id)
			}
		}
		if latest := said[len(said)-1]; !known[latest] {
			t.Fatalf("round %d: of %d entries that were written the latest, %d, is not there", round, len(said), latest)
		}
		last = all[len(all)-1].ID
	}
}

// writeUntilKilled has a process write a history until it is killed, so long after it wrote the first entry. It returns what that
// said it wrote: one id at least.
func writeUntilKilled(t *testing.T, dir string, after time.Duration) (said []int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writesHistory+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewReader(out); ; { // until its end, so that it never waits for who reads
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what it was killed while saying counts for nothing
		}
		id, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if said = append(said, id); len(said) == 1 {
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Fatalf("the writer ended by itself: %v", err)
	}
	return said
}

// size is how many bytes a folder takes.
func size(t *testing.T, dir string) (n int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // it may be renamed meanwhile
			n += info.Size()
		}
	}
	return n
}

// TestAHistoryHasABound: in bytes, after each entry; what is there is the latest, without a gap, and half of the bytes at least.
func TestAHistoryHasABound(t *testing.T) {
	dir := t.TempDir()
	const most, entries = 16 << 10, 1000
	h := OpenHistory(dir, most)
	longest := int64(0)
	for i := range entries {
		before := size(t, dir)
		add(t, h, i)
		after := size(t, dir)
		if after > most {
			t.Fatalf("after %d entries it takes %d bytes, more than %d", i+1, after, most)
		}
		longest = max(longest, after-before)
	}
	all := readAll(t, h, time.Time{})
	for i, entry := range all {
		if want := happened(entries - len(all) + i).Object; entry.Object != want {
			t.Fatalf("entry %d of %d is of %s, want %s", i, len(all), entry.Object, want)
		}
	}
	if int64(len(all))*longest < most/2-longest {
		t.Errorf("%d entries of %d bytes are fewer than fit into half of %d", len(all), longest, most)
	}
	large := happened(0)
	large.Object = strings.Repeat("x", most)
	if _, err := h.Add(large, epoch); err == nil {
		t.Error("an entry was taken that is larger than all that may be kept")
	}
	if got := readAll(t, h, time.Time{}); len(got) != len(all) {
		t.Errorf("what was not taken cost %d entries", len(all)-len(got))
	}
}

// TestAHistoryIsReadWhileItIsWritten: nobody waits for the other, and what is read has no gap.
func TestAHistoryIsReadWhileItIsWritten(t *testing.T) {
	h := OpenHistory(t.TempDir(), 16<<10)
	var writing sync.WaitGroup
	begun, stop := make(chan struct{}), make(chan struct{})
	begins := sync.OnceFunc(func() { close(begun) })
	writing.Go(func() {
		defer begins()
		for i := 0; ; i++ {
			if i == 2 {
				begins()
			}
			select {
			case <-stop:
				return
			default:
			}
			if _, err := h.Add(happened(i), epoch); err != nil {
				t.Error(err)
				return
			}
		}
	})
	<-begun
	for range 50 {
		all := readAll(t, h, time.Time{})
		if len(all) < 2 {
			t.Fatalf("there is %v, and two were written before it was read", all)
		}
		for i := 1; i < len(all); i++ {
			if gap := all[i].Time.Sub(all[i-1].Time.Time); gap != time.Second {
				t.Fatalf("between %s and %s there is a gap", all[i-1].Object, all[i].Object)
			}
		}
	}
	close(stop)
	writing.Wait()
}
