package quorum

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// askTime is how long one member of etcd may take to answer.
const askTime = 5 * time.Second

// etcd speaks to the members of an etcd, in JSON: of its API hardly more than the list of members is needed.
type etcd struct {
	http *http.Client
	urls []string
}

func newEtcd(config *tls.Config, places []Place) *etcd {
	e := &etcd{http: &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: askTime}}
	for _, p := range places {
		e.urls = append(e.urls, p.Client)
	}
	return e
}

// list returns the members. A majority has agreed that it is the list.
func (e *etcd) list(ctx context.Context) ([]Member, error) {
	var answer struct {
		Members []struct {
			ID        string   `json:"ID"`
			Name      string   `json:"name"`
			PeerURLs  []string `json:"peerURLs"`
			IsLearner bool     `json:"isLearner"`
		} `json:"members"`
	}
	if err := e.ask(ctx, "cluster/member/list", map[string]any{"linearizable": true}, &answer); err != nil {
		return nil, err
	}
	var members []Member
	for _, m := range answer.Members {
		id, err := strconv.ParseUint(m.ID, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("reading etcd's list of members: %w", err)
		}
		members = append(members, Member{ID: id, Name: m.Name, Peers: m.PeerURLs, Learner: m.IsLearner})
	}
	if len(members) == 0 {
		return nil, errors.New("etcd's list of members is empty")
	}
	return members, nil
}

func (e *etcd) add(ctx context.Context, peer string) error {
	return e.ask(ctx, "cluster/member/add", map[string]any{"peerURLs": []string{peer}, "isLearner": true}, nil)
}

func (e *etcd) promote(ctx context.Context, id uint64) error {
	return e.ask(ctx, "cluster/member/promote", map[string]any{"ID": strconv.FormatUint(id, 10)}, nil)
}

func (e *etcd) move(ctx context.Context, id uint64, peer string) error {
	return e.ask(ctx, "cluster/member/update", map[string]any{"ID": strconv.FormatUint(id, 10), "peerURLs": []string{peer}}, nil)
}

func (e *etcd) remove(ctx context.Context, id uint64) error {
	return e.ask(ctx, "cluster/member/remove", map[string]any{"ID": strconv.FormatUint(id, 10)}, nil)
}

// settle has a majority of the members that are left write something down, and with it that they are all. Until then etcd may have a
// change of its list in memory alone: the last of two, killed then, would wait for one that has been removed for ever. The deletion
// of a key that is not there leaves nothing behind.
func (e *etcd) settle(ctx context.Context) error {
	return e.ask(ctx, "kv/deleterange", map[string]any{"key": []byte("umbel.dev/settle")}, nil)
}

// ask has the first member that can answer do so. Learners cannot, and neither can those that are cut off from the majority. What was
// asked for may have been done all the same; so who changes the list looks at it again.
func (e *etcd) ask(ctx context.Context, what string, question map[string]any, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	var problems []error
	for _, url := range e.urls {
		err := e.post(ctx, url+"/v3/"+what, body, answer)
		if err == nil {
			return nil
		}
		problems = append(problems, err)
	}
	return fmt.Errorf("asking etcd for %s: %w", what, errors.Join(problems...))
}

func (e *etcd) post(ctx context.Context, url string, body []byte, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := e.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, response.Status, strings.TrimSpace(string(content)))
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(content, answer)
}
