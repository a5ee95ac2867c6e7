package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/trail"
)

// run asks the hub and writes what comes.
func (o *Options) run(ctx context.Context, hub *client.Hub, query audit.Query) error {
	body, err := trail.Ask(ctx, o.Factory, hub, query)
	if err != nil {
		return err
	}
	defer body.Close()
	o.unknown(ctx, hub, query)
	w := o.newWriter()
	err = copyEvents(body, w)
	if ctx.Err() != nil && query.Follow {
		return w.flush() // nobody wants more
	}
	return errors.Join(w.flush(), err)
}

// unknown says which of the clusters asked for are none of the fleet. They may have been: their events are shown.
func (o *Options) unknown(ctx context.Context, hub *client.Hub, query audit.Query) {
	for _, name := range query.Clusters {
		err := hub.Get(ctx, kube.ObjectKey{Name: string(name)}, &v1alpha1.MemberCluster{})
		if apierrors.IsNotFound(err) { // who may not ask learns nothing here
			o.Note("no cluster %q is in the fleet now: `umbel get clusters` lists those that are", name)
		}
	}
}

// copyEvents writes each event of an answer, and returns an error when the answer is not complete.
func copyEvents(body io.Reader, w *writer) error {
	lines := bufio.NewReaderSize(body, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("the answer broke off, what is shown is not all: %w", noEOF(err))
		}
		if bytes.HasPrefix(line, []byte(`{"kind":"Status"`)) {
			return ended(line, w)
		}
		if err := w.write(line); err != nil {
			return err
		}
		if lines.Buffered() == 0 {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ended reads the last line of an answer.
func ended(line []byte, w *writer) error {
	var end audit.End
	if err := json.Unmarshal(line, &end); err != nil {
		return fmt.Errorf("reading how the answer ended: %w", err)
	}
	if end.Damaged > 0 {
		w.Note("%d lines or files of the audit log could not be read: they are damaged, as after a crash", end.Damaged)
	}
	if end.Status.Status != metav1.StatusSuccess {
		return fmt.Errorf("the hub could not read all of its audit log, what is shown is not all: %s", end.Message)
	}
	if w.rows == 0 && w.Format == "" {
		w.Note("Nothing: %s", w.nothing())
	}
	return nil
}
