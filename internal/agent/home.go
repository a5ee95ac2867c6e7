package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/tunnel"
)

const (
	// serviceAccountToken is where a pod finds its token: rest.InClusterConfig names this file, and a kubeconfig does not.
	serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	// packagesDir is what package delivery/apply keeps in the agent's folder.
	packagesDir = "packages"
	// stateConfigMap has under stateKey the mark of the folder that the agent used last; that folder has it in stateFile.
	stateConfigMap = "umbel-agent-state"
	stateKey       = "folder"
	stateFile      = "folder"
	// requestTimeout bounds what the agent asks for itself of the API server.
	requestTimeout = 5 * time.Second
)

// settle makes the agent's folder ready and returns the home of its papers.
//
// A pod may find itself on another node at any start. So a pod's papers are in a Secret, and what its folder holds counts
// only if this is the folder that the agent used last: another one, on a node that it comes back to, holds what the
// cluster should have been at an earlier time. For both, the API server has to answer; without it nothing could be
// applied anyway.
func settle(ctx context.Context, o Options, client kubernetes.Interface) (identity.Home, error) {
	if o.Config.BearerTokenFile != serviceAccountToken {
		return identity.Folder(filepath.Join(o.Dir, "identity")), nil
	}
	if err := claimFolder(ctx, o, client); err != nil {
		return nil, fmt.Errorf("claiming the agent's folder %s: %w", o.Dir, err)
	}
	return &secretHome{life: ctx, client: client, log: o.Log}, nil
}

// claimFolder makes sure that the folder holds what the agent left last, or nothing. The mark is written to the API
// first: a crash before the folder has it too costs that folder's content, and never brings an old one back.
func claimFolder(ctx context.Context, o Options, client kubernetes.Interface) error {
	marks := client.CoreV1().ConfigMaps(v1alpha1.AgentNamespace)
	last := ""
	err := insist(ctx, o.Log, "reading which folder the agent used last", func(ctx context.Context) error {
		state, err := marks.Get(ctx, stateConfigMap, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			last = state.Data[stateKey]
		}
		return err
	})
	if err != nil {
		return err
	}
	here, err := os.ReadFile(filepath.Join(o.Dir, stateFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if last != "" && last == string(here) {
		return nil
	}
	if err := dropPackages(o); err != nil {
		return err
	}
	mark := rand.Text()
	state := corev1ac.ConfigMap(stateConfigMap, v1alpha1.AgentNamespace).WithData(map[string]string{stateKey: mark})
	err = insist(ctx, o.Log, "marking the agent's folder", func(ctx context.Context) error {
		_, err := marks.Apply(ctx, state, metav1.ApplyOptions{FieldManager: stateConfigMap, Force: true})
		return err
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(o.Dir, stateFile), []byte(mark), 0o600)
}

func dropPackages(o Options) error {
	packages := filepath.Join(o.Dir, packagesDir)
	_, err := os.Stat(packages)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	o.Log.Warn("the agent has run in another folder since it used this one; what is here is of an earlier time and is dropped", "folder", o.Dir)
	return os.RemoveAll(packages)
}

// insist asks the API server until it answers without an error, or ctx ends.
func insist(ctx context.Context, log *slog.Logger, what string, ask func(context.Context) error) error {
	for backoff := (tunnel.Backoff{}); ; {
		attempt, cancel := context.WithTimeout(ctx, requestTimeout)
		err := ask(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		wait := backoff.Next()
		log.Warn("the API server does not let the agent begin", "what", what, "error", err, "retryIn", wait)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}
