package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ownedTag is how the provider marks what it made, before the name of the cluster; the tag's value is owned.
const ownedTag = "sigs.k8s.io/cluster-api-provider-aws/cluster/"

// check says what AWS would refuse. That it lets nobody in is what it would refuse too.
func check(ctx context.Context, a *Account, q Question) (Answer, error) {
	if err := a.query(ctx, "sts", "GetCallerIdentity", nil, &struct{}{}); err != nil {
		if slices.Contains(outside, codeOf(err)) {
			return Answer{Problems: []string{fmt.Sprintf("AWS refuses the access key of %s in region %s: %s: change it there", q.From, q.Region, brief(err))}}, nil
		}
		return Answer{}, fmt.Errorf("signing in at AWS in region %s: %s", q.Region, brief(err))
	}
	c := checking{Account: a, sizes: map[string]Size{}, images: map[string]bool{}}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"which instances there are", c.lookForTypes}, {"which images there are", c.lookForImages}, {"whether instances may be run", c.tryToRun},
		{"how many instances may be run", c.countCores}, {"how many networks there may be", c.countNetworks}, {"how many addresses there may be", c.countAddresses},
	} {
		if err := step.do(ctx); err != nil {
			c.Unknown = append(c.Unknown, fmt.Sprintf("%s in region %s: %s", step.what, q.Region, brief(err)))
		}
	}
	return c.Answer, nil
}

// left lists what there is of a cluster.
func left(ctx context.Context, a *Account, q Question) (Answer, error) {
	if q.Cluster == "" {
		return Answer{}, errors.New("the question has no cluster")
	}
	asked := map[string]any{"TagFilters": []any{map[string]any{"Key": ownedTag + q.Cluster, "Values": []string{"owned"}}}}
	var all Answer
	for {
		var page struct {
			PaginationToken        string
			ResourceTagMappingList []struct{ ResourceARN string }
		}
		if err := a.call(ctx, "tagging", "ResourceGroupsTaggingAPI_20170126.GetResources", asked, &page); err != nil {
			return Answer{}, fmt.Errorf("listing what is tagged as cluster %s in region %s: %s", q.Cluster, q.Region, brief(err))
		}
		for _, r := range page.ResourceTagMappingList {
			all.Left = append(all.Left, r.ResourceARN)
		}
		if page.PaginationToken == "" {
			break
		}
		asked["PaginationToken"] = page.PaginationToken
	}
	slices.Sort(all.Left)
	return all, nil
}

// outside are AWS' codes for whoever is not let in.
var outside = []string{
	"AccessDenied", "AccessDeniedException", "AuthFailure", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId", "OptInRequired",
	"RegionDisabledException", "SignatureDoesNotMatch", "UnrecognizedClientException",
}

// codeOf is AWS' code of an error, empty for one that is not of AWS.
func codeOf(err error) string {
	if answer, ok := errors.AsType[*refused](err); ok {
		return answer.code
	}
	return ""
}

// brief is an error in a line.
func brief(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	text, _, _ = strings.Cut(text, " Encoded authorization failure message") // which only its owner can read, in a thousand letters
	return strings.TrimRight(text, ". ")
}
