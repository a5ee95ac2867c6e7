package hosted

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http/httptest"

	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/internal/content/registrytest"
)

// fromAfar restores what is kept elsewhere: in a bucket, whose service is a fake, and in a real registry; both by TLS and with a password.
func (w *world) fromAfar(plane *infra.HostedControlPlane) {
	w.Helper()
	w.host.is(func(c *computer) { c.before = nil })
	kept := s3mem.New()
	if err := kept.CreateBucket(w.Context(), "backups"); err != nil {
		w.Fatal(err)
	}
	bucket := httptest.NewTLSServer(gofakes3.New(kept, gofakes3.WithV4Auth(map[string]string{registrytest.Username: registrytest.Secret})).Server())
	w.Cleanup(bucket.Close)
	registry := registrytest.Start(w.T, registrytest.Password)
	for name, far := range map[string]struct {
		target infra.BackupTarget
		ca     []byte
	}{
		"in-s3":       {infra.BackupTarget{S3: &infra.S3Target{Endpoint: bucket.URL, Bucket: "backups", Region: "eu"}}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: bucket.Certificate().Raw})},
		"in-registry": {infra.BackupTarget{OCI: &infra.OCITarget{URL: registry.URL + "/backups"}}, registry.CA},
	} {
		w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: map[string][]byte{
			"username": []byte(registrytest.Username), "password": []byte(registrytest.Secret), "ca.crt": far.ca,
		}})
		far.target.SecretName = name
		b := w.backup(name, far.target)
		w.says(b, infra.ConditionReady, infra.ReasonServing, "the target has 0 snapshots")
		w.took(b, "afar")
		s := b.Status.Snapshots[0]
		request := name + "/" + s.Name + "@afar"
		w.asks(plane, infra.RestoreAnnotation, request)
		eventually(w.T, "it is restored "+name, func(ctx context.Context) error {
			if err := w.Get(ctx, client.ObjectKeyFromObject(plane), plane); err != nil {
				return err
			}
			if plane.Status.Restored != request {
				return fmt.Errorf("it says %q, and %+v", plane.Status.Restored, plane.Status.Conditions)
			}
			return nil
		})
		done, held := w.host.holds()
		if sum := sha256.Sum256(held); done != request || int64(len(held)) != s.Size || hex.EncodeToString(sum[:]) != s.SHA256 {
			w.Errorf("asked for %s (%d bytes of %s), it was restored to %s, with %d bytes of %x", request, s.Size, s.SHA256, done, len(held), sum)
		}
	}
}
