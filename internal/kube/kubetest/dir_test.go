package kubetest

import (
	"os"
	"testing"
	"time"
)

func TestSweepsUpAfterKilledTests(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir, unlock, err := makeDir()
	if err != nil {
		t.Fatal(err)
	}
	there := func() bool {
		sweep(dir)
		_, err := os.Stat(dir)
		return err == nil
	}
	anHourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(dir, anHourAgo, anHourAgo); err != nil {
		t.Fatal(err)
	}
	if !there() {
		t.Error("swept away under a test that runs")
	}
	unlock() // as the end of the process does
	if err := os.Chtimes(dir, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if !there() {
		t.Error("swept away before its maker could lock it")
	}
	if err := os.Chtimes(dir, anHourAgo, anHourAgo); err != nil {
		t.Fatal(err)
	}
	if there() {
		t.Error("what a killed test left is still there")
	}
}
