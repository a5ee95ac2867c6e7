package queue

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"umbel.dev/umbel/internal/metrics"
	"umbel.dev/umbel/internal/metrics/request"
)

const (
	// answerTimeout is how long the hub may take for an answer, once there is a session.
	answerTimeout = time.Minute
	// againFirst and againLongest are between two tries, unless the hub says when, and longest is how long that may be.
	againFirst, againLongest, longest = time.Second, 15 * time.Second, time.Minute
)

// To is who is sent what is in a queue.
type To struct {
	// Who names it in a log.
	Who    string
	URL    string
	Header http.Header
	Client *http.Client
}

// Send sends what is in the queue to the hub, the oldest first, until ctx ends; then it returns nil. A request waits for a session as
// long as its context lets it, as with session.Client.Content.
func (q *Queue) Send(ctx context.Context, hub http.RoundTripper) error {
	header := http.Header{}
	header.Set("Content-Type", request.ContentType)
	header.Set("Content-Encoding", request.ContentEncoding)
	header.Set("X-Prometheus-Remote-Write-Version", request.Version)
	header.Set("User-Agent", "umbel-agent")
	return q.SendTo(ctx, To{"the hub", "http://hub" + metrics.WritePath, header, &http.Client{Transport: hub}})
}

// SendTo does so to anybody.
func (q *Queue) SendTo(ctx context.Context, to To) error {
	s := sender{q, to, q.log}
	wait := againFirst
	for ctx.Err() == nil {
		pause, err := s.one(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			wait = againFirst
			continue
		}
		if pause == 0 {
			pause, wait = wait, min(2*wait, againLongest)
		}
		s.log.Warn(to.Who+" did not take what was measured; it waits", "error", err, "retryIn", pause, "requests", q.Len())
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

type sender struct {
	queue *Queue
	to    To
	log   *slog.Logger
}

// one sends one request. An error says that it is still there, and pause when the hub wants to hear of it again, if it said so.
func (s *sender) one(ctx context.Context) (pause time.Duration, err error) {
	body, number, err := s.queue.Next(ctx)
	if err != nil {
		return 0, err
	}
	answer, why, err := s.post(ctx, body)
	if err != nil {
		return 0, fmt.Errorf("sending what was measured: %w", err)
	}
	switch code := answer.StatusCode; {
	case code/100 == 2:
		return 0, s.queue.Done(number)
	case code == http.StatusTooManyRequests || code/100 == 5:
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
		return min(time.Duration(max(seconds, 0))*time.Second, longest), fmt.Errorf("%s answered %s: %s", s.to.Who, answer.Status, why)
	case code/100 == 4: // it is as it is
		s.log.Warn(s.to.Who+" does not keep all of what was measured", "answer", answer.Status, "why", why)
		return 0, s.queue.Done(number)
	default:
		return 0, fmt.Errorf("%s answered %s: %s", s.to.Who, answer.Status, why)
	}
}

func (s *sender) post(ctx context.Context, body []byte) (*http.Response, string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.to.URL, bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	r.Header = s.to.Header.Clone()
	response, err := s.to.Client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) //nolint:errcheck // what is left unread costs the connection
	return response, strings.TrimSpace(string(text)), err
}
