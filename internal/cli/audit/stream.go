package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/route"
)

// run asks the hub and writes what comes.
func (o *Options) run(ctx context.Context, hub *client.Hub, query audit.Query) error {
	body, err := o.ask(ctx, hub, query)
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

// ask returns the answer of the hub's gateway.
func (o *Options) ask(ctx context.Context, hub *client.Hub, query audit.Query) (io.ReadCloser, error) {
	door, err := route.Find(ctx, hub, hub.Config)
	if err != nil {
		return nil, err
	}
	own, err := o.LoadKubeconfig()
	if err != nil {
		return nil, err
	}
	config, err := door.Config(own)
	if err != nil {
		return nil, err
	}
	config.UserAgent = "umbel"
	web, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+audit.Path+"?"+query.Values().Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := web.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	return nil, refusal(response)
}

// refusal is the error of an answer that is none.
func refusal(response *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("the hub answered %s: %w", response.Status, err)
	}
	var status metav1.Status
	if json.Unmarshal(text, &status) != nil || status.Kind != "Status" {
		return fmt.Errorf("the hub answered %s to a question for its audit log: is it older than this command?", response.Status)
	}
	return &apierrors.StatusError{ErrStatus: status}
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
