package drift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/trail"
	"umbel.dev/umbel/internal/cli/view"
)

const (
	// together is how many clusters are asked at a time.
	together = 16
	// patience is how long one has to answer.
	patience = time.Minute
	// mostRead is how many bytes of one answer are read: more than an agent keeps.
	mostRead = 32 << 20
)

// remembered returns what the clusters' agents wrote down, and of those that could not be asked, so many, what the hub knows: known.
func (o *Options) remembered(ctx context.Context, hub *client.Hub, moment view.Moment, clusters []v1alpha1.MemberCluster, known []shown) (all []shown, unasked int, err error) {
	web, at, err := o.Door(ctx, hub)
	if err != nil {
		return nil, 0, err
	}
	answers, problems := make([][]shown, len(clusters)), make([]error, len(clusters))
	var asking errgroup.Group
	asking.SetLimit(together)
	for i := range clusters {
		if moment.IsConnected(&clusters[i]) {
			asking.Go(func() error {
				answers[i], problems[i] = o.historyOf(ctx, web, at, v1alpha1.ClusterName(clusters[i].Name))
				return nil
			})
		}
	}
	_ = asking.Wait() // the functions above never fail
	if err := ctx.Err(); err != nil {
		return nil, 0, err // it is not the clusters that did not answer
	}
	var away []string
	for i := range clusters {
		name := v1alpha1.ClusterName(clusters[i].Name)
		connected := moment.IsConnected(&clusters[i])
		if connected && problems[i] == nil {
			all = append(all, answers[i]...)
			continue
		}
		if unasked++; !connected {
			away = append(away, clusters[i].Name)
		} else {
			o.Note("%s: no more is known than the latest ten of each package since its agent started: %v", name, problems[i])
		}
		all = append(all, slices.DeleteFunc(slices.Clone(known), func(s shown) bool { return s.Cluster != name })...)
	}
	if len(away) > 0 {
		o.Note("not connected, so no more is known than the latest ten of each package, which may be old: %s", strings.Join(away, ", "))
	}
	return all, unasked, nil
}

// historyOf asks for what happened on one cluster, of the packages that are wanted.
func (o *Options) historyOf(ctx context.Context, web *http.Client, at string, cluster v1alpha1.ClusterName) ([]shown, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	query := url.Values{v1alpha1.HistorySince: {o.since.UTC().Format(time.RFC3339)}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at+v1alpha1.HistoryPath+string(cluster)+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := web.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	if response.StatusCode != http.StatusOK {
		return nil, trail.Refusal(response)
	}
	body := &io.LimitedReader{R: response.Body, N: mostRead}
	var all []shown
	for lines := json.NewDecoder(body); ; {
		one := shown{Cluster: cluster}
		err := lines.Decode(&one.HistoryEntry)
		if errors.Is(err, io.EOF) && body.N > 0 {
			return all, nil
		}
		if body.N == 0 {
			return nil, fmt.Errorf("its answer has more than %d bytes", mostRead)
		}
		if err != nil {
			return nil, fmt.Errorf("its answer breaks off: %w", err)
		}
		if o.wants(one.Package) {
			all = append(all, one)
		}
	}
}
