package kubeproxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What the hub asks an agent for itself goes the way of people's requests, at a path that no API server has.
const (
	// HubUser is who asks then. No person is called so: a member sees whoever says it by another name, which may nothing there.
	HubUser = "system:umbel:hub"
	// HistoryPath is where an agent answers HubUser what happened to objects, as lines of JSON of HistoryType.
	HistoryPath = "/umbel.dev/history"
	HistoryType = "application/x-ndjson"
)

// ErrOlder says that an agent is of a version which does not know what the hub asks it for: its API server answered.
var ErrOlder = errors.New("its agent is of a version that does not keep it")

// FromAgent lets answers through that an agent gave itself, and those that say that it is not reached now. That a member's API server
// forbids the question, or does not know its path, is ErrOlder. Who is not even recognised was not asked: by another replica of the hub on
// the way, or by the API server, which does not know its agent any more.
type FromAgent struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (f FromAgent) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := f.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized:
		defer answer.Body.Close() //nolint:errcheck // as much of it as counts is read
		var said metav1.Status
		if err := json.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(&said); err != nil {
			said.Message = answer.Status
		}
		return nil, fmt.Errorf("the question was refused: %s", said.Message)
	case http.StatusForbidden, http.StatusNotFound:
	case http.StatusOK:
		if answer.Header.Get("Content-Type") == HistoryType {
			return answer, nil
		}
	default:
		return answer, nil
	}
	answer.Body.Close() //nolint:errcheck // nobody reads it
	return nil, ErrOlder
}
