package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
)

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]infra.BackupTarget{
		"folder:dev":                            {Folder: &infra.FolderTarget{Name: "dev"}},
		"s3:https://s3.example.com/fleet":       {S3: &infra.S3Target{Endpoint: "https://s3.example.com", Bucket: "fleet"}},
		"s3:http://10.0.0.1:9000/fleet/one/two": {S3: &infra.S3Target{Endpoint: "http://10.0.0.1:9000", Bucket: "fleet", Prefix: "one/two"}},
		"oci:https://registry.example.com":      {OCI: &infra.OCITarget{URL: "https://registry.example.com"}},
		"oci:https://registry.example.com/a/b/": {OCI: &infra.OCITarget{URL: "https://registry.example.com/a/b"}},
	} {
		got, err := parseTarget(text)
		if diff := gocmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
	for text, want := range map[string]string{
		"": "--to is folder:NAME", "dev": "--to is folder:NAME", "folder:": "a folder is named", "folder:/etc": "a folder is named", "s3:bucket": "--to is folder:NAME",
		"s3:https://s3.example.com": "has no bucket", "oci:https://me:secret@registry.example.com": "without a password", "s3:https://s3.example.com/b?X-Amz-Signature=1": "without a password",
	} {
		if _, err := parseTarget(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// TestSnapshotsAreListedAndChosen: also those of a cluster that is not there any more.
func TestSnapshotsAreListedAndChosen(t *testing.T) {
	d := newDesk(t)
	now := time.Now().UTC().Truncate(time.Second)
	b := &infra.ClusterBackup{
		TypeMeta:   metav1.TypeMeta{APIVersion: infra.GroupVersion.String(), Kind: "ClusterBackup"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nightly"},
		Spec:       infra.ClusterBackupSpec{ClusterName: "gone", Target: infra.BackupTarget{Folder: &infra.FolderTarget{Name: "gone"}}},
	}
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(b)
	if err != nil {
		t.Fatal(err)
	}
	o := d.create(&unstructured.Unstructured{Object: raw})
	snapshots := []any{}
	for i, name := range []string{"20261127-120000", "20261127-060000"} {
		snapshots = append(snapshots, map[string]any{
			"name": name, "cluster": "default/gone", "time": now.Add(-time.Duration(i+1) * time.Hour).Format(time.RFC3339), "size": int64(3 << 20),
			"sha256": strings.Repeat("a", 64), "version": "v1.36.3", "services": "10.129.0.0/16",
		})
	}
	o.Object["status"] = map[string]any{"snapshots": snapshots}
	if err := d.hub.Status().Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	out, _, err := d.umbel("backups")
	for _, part := range []string{"nightly/20261127-120000", "nightly/20261127-060000", "v1.36.3", "3.0 MiB", "60m"} {
		if err != nil || !strings.Contains(out, part) {
			t.Errorf("%q is not in what is listed (%v):\n%s", part, err, out)
		}
	}
	if out, _, err := d.umbel("backups", "gone", "-o", "name"); err != nil || out != "nightly/20261127-120000\nnightly/20261127-060000\n" {
		t.Errorf("by name: %q, %v", out, err)
	}
	if out, _, err := d.umbel("backups", "other", "-o", "name"); err != nil || out != "" {
		t.Errorf("of another: %q, %v", out, err)
	}
	for from, want := range map[string]string{"": "20261127-120000", "nightly": "20261127-120000", "nightly/20261127-060000": "20261127-060000"} {
		if got, err := originOf(t.Context(), d.hub, "default", from, "gone"); err != nil || got.backup != "nightly" || got.snapshot.Name != want {
			t.Errorf("--from %q means %+v, %v", from, got, err)
		}
	}
	for from, want := range map[string]string{"nightly/20250101-000000": "has no snapshot", "weekly": "there is no ClusterBackup"} {
		if _, err := originOf(t.Context(), d.hub, "default", from, "gone"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--from %q: got %v, want %q", from, err, want)
		}
	}
	for _, args := range []string{"create copy --from-backup", "restore gone --from"} {
		d.eventually("a shell offers them after "+args, func(context.Context) error { // where an API server is busy for two seconds it offers nothing
			out, _, err := d.umbel(append(append([]string{"__complete"}, strings.Fields(args)...), "")...)
			if err != nil || !strings.HasPrefix(out, "nightly/20261127-120000\nnightly/20261127-060000\n:4\n") {
				return fmt.Errorf("it offers %q (%w)", out, err)
			}
			return nil
		})
	}
	d.cluster("asked", nil)
	for want, args := range map[string][]string{
		"the hub makes no cluster":        {"backup", "gone"},
		"makes no cluster \"gone\"":       {"restore", "gone", "--yes"},
		"there is no ClusterBackup \"x\"": {"create", "copy", "--from-backup", "x"},
		"has no snapshot yet":             {"drill", "empty"},
		"nothing says where snapshots of": {"drill", "nobody"},
		"--to is folder:NAME, s3:":        {"backup", "asked", "--to", "tape:1"},
		"--schedule \"daily\" is no":      {"backup", "asked", "--to", "folder:asked", "--schedule", "daily"},
		"--drill-schedule \"1 2\" is no":  {"backup", "asked", "--to", "folder:asked", "--drill-schedule", "1 2"},
	} {
		if args[1] == "empty" {
			raw, _ := runtime.DefaultUnstructuredConverter.ToUnstructured(&infra.ClusterBackup{TypeMeta: b.TypeMeta, ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "empty"}, Spec: infra.ClusterBackupSpec{ClusterName: "empty", Target: b.Spec.Target}})
			d.create(&unstructured.Unstructured{Object: raw})
		}
		if _, _, err := d.umbel(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("umbel cluster %s: got %v, want %q", strings.Join(args, " "), err, want)
		}
	}
}

// TestWhoseSnapshotIsTaken: one that somebody else asked for later is as good as the one that was asked for, which is not answered any more.
func TestWhoseSnapshotIsTaken(t *testing.T) {
	const request = "2026-11-30T09:15:17.5Z"
	for last, want := range map[string]bool{
		"": false, "by hand": false, "2026-11-30T09:15:17Z": false, "2026-11-29T10:00:00.123Z": false,
		request: true, "2026-11-30T09:15:17.500000001Z": true, "2026-11-30T09:15:18Z": true, "2026-12-01T00:00:00Z": true,
	} {
		if answered(last, request) != want {
			t.Errorf("after %q %s is answered: %t", last, request, !want)
		}
	}
}

// TestACopyIsOrdered with what its snapshot says, and asks for it once.
func TestACopyIsOrdered(t *testing.T) {
	from := origin{"dev", infra.ClusterSnapshot{Name: "20261127-120000", Services: "10.130.0.0/16", Version: "v1.36.1"}}
	w := wish{name: "copy", class: "local", workers: 1, planes: 1}.beginningWith(from, time.Date(2026, 11, 28, 1, 2, 3, 0, time.UTC))
	ordered, err := preflight(w, hubHas())
	if err != nil {
		t.Fatal(err)
	}
	o := ordered.object()
	if v := text(o, "spec", "topology", "version"); v != "v1.36.1" {
		t.Errorf("it has Kubernetes %s", v)
	}
	if got := text(o, "spec", "topology", "controlPlane", "metadata", "annotations", infra.RestoreAnnotation); got != "dev/20261127-120000@20261128T010203Z" {
		t.Errorf("it is asked for %q", got)
	}
	blocks, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "clusterNetwork", "services", "cidrBlocks")
	if gocmp.Diff([]string{"10.130.0.0/16"}, blocks) != "" {
		t.Errorf("its services are %v", blocks)
	}
}
