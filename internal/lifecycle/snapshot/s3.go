package snapshot

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3 is a bucket.
type S3 struct{ Endpoint, Bucket, Prefix, Region string }

// bucket is a cluster's part of one.
type bucket struct {
	client *minio.Client
	name   string
	prefix string
}

func openS3(t S3, with Credentials, namespace, cluster string) (Store, error) {
	at, err := url.Parse(t.Endpoint)
	if err != nil || at.Host == "" {
		return nil, fmt.Errorf("target.s3.endpoint %q is no URL such as https://s3.example.com", t.Endpoint)
	}
	transport, err := with.transport()
	if err != nil {
		return nil, err
	}
	client, err := minio.New(at.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(with.Username, with.Password, ""),
		Secure: at.Scheme == "https", Region: t.Region, Transport: transport,
		MaxRetries: 2, // whoever calls tries again, and says so meanwhile
	})
	if err != nil {
		return nil, fmt.Errorf("target.s3: %w", err)
	}
	return files{bucket{client, t.Bucket, path.Join(t.Prefix, namespace, cluster)}}, nil
}

func (c Credentials) transport() (*http.Transport, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if len(c.CA) == 0 {
		return transport, nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.CA) {
		return nil, errors.New("ca.crt of the target's Secret has no certificate")
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	return transport, nil
}

// partSize is how much of a snapshot is in memory while it is sent.
const partSize = 16 << 20

func (b bucket) put(ctx context.Context, name string, content io.Reader, size int64) error {
	_, err := b.client.PutObject(ctx, b.name, path.Join(b.prefix, name), content, size, minio.PutObjectOptions{PartSize: partSize, NumThreads: 1})
	return b.explain("writing "+name, err)
}

func (b bucket) get(ctx context.Context, name string) (io.ReadCloser, error) {
	object, err := b.client.GetObject(ctx, b.name, path.Join(b.prefix, name), minio.GetObjectOptions{})
	if err != nil {
		return nil, b.explain("reading "+name, err)
	}
	if _, err := object.Stat(); err != nil {
		return nil, errors.Join(b.explain("reading "+name, err), object.Close())
	}
	return object, nil
}

func (b bucket) names(ctx context.Context) ([]string, error) {
	var names []string
	for object := range b.client.ListObjects(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix + "/"}) {
		if object.Err != nil {
			return nil, b.explain("listing", object.Err)
		}
		names = append(names, strings.TrimPrefix(object.Key, b.prefix+"/"))
	}
	return names, ctx.Err()
}

func (b bucket) remove(ctx context.Context, name string) error {
	return b.explain("deleting "+name, b.client.RemoveObject(ctx, b.name, path.Join(b.prefix, name), minio.RemoveObjectOptions{}))
}

// explain says of an error what was tried. What is not there is fs.ErrNotExist; a bucket that is not there is not.
func (b bucket) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		err = errors.Join(fs.ErrNotExist, err)
	}
	return fmt.Errorf("%s in bucket %s: %w", what, b.name, err)
}
