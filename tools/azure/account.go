package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v5"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
)

// clouds are those that Cluster API's provider knows.
var clouds = map[string]cloud.Configuration{
	"": cloud.AzurePublic, "AzurePublicCloud": cloud.AzurePublic,
	"AzureUSGovernmentCloud": cloud.AzureGovernment, "AzureChinaCloud": cloud.AzureChina,
}

// ownedTag is how the provider marks what it made, before the name of the cluster; the tag's value is owned.
const ownedTag = "sigs.k8s.io_cluster-api-provider-azure_cluster_"

// Account is a subscription, as an application sees it.
type Account struct {
	skus      *armcompute.ResourceSKUsClient
	usage     *armcompute.UsageClient
	groups    *armresources.ResourceGroupsClient
	resources *armresources.Client
}

// open makes the clients of a subscription. It asks Azure nothing yet.
func open(q Question, options *arm.ClientOptions) (*Account, error) {
	configuration, known := clouds[q.Cloud]
	if !known {
		return nil, fmt.Errorf("cloud %q: it is one of AzurePublicCloud, AzureUSGovernmentCloud and AzureChinaCloud", q.Cloud)
	}
	for field, value := range map[string]string{"tenant": q.Tenant, "client": q.Client, "secret": q.Secret, "subscription": q.Subscription} {
		if value == "" {
			return nil, fmt.Errorf("the question has no %s", field)
		}
	}
	own := arm.ClientOptions{}
	if options != nil {
		own = *options
	}
	own.Cloud = configuration
	credential, err := azidentity.NewClientSecretCredential(q.Tenant, q.Client, q.Secret, &azidentity.ClientSecretCredentialOptions{ClientOptions: own.ClientOptions})
	if err != nil {
		return nil, fmt.Errorf("signing in as application %s of tenant %s: %w", q.Client, q.Tenant, err)
	}
	return clients(q.Subscription, credential, &own)
}

func clients(subscription string, credential azcore.TokenCredential, options *arm.ClientOptions) (*Account, error) {
	a := &Account{}
	var errs [4]error
	a.skus, errs[0] = armcompute.NewResourceSKUsClient(subscription, credential, options)
	a.usage, errs[1] = armcompute.NewUsageClient(subscription, credential, options)
	a.groups, errs[2] = armresources.NewResourceGroupsClient(subscription, credential, options)
	a.resources, errs[3] = armresources.NewClient(subscription, credential, options)
	return a, errors.Join(errs[:]...)
}

// check says what Azure would refuse. That it lets nobody in, or does not let them ask, is what it would refuse too.
func check(ctx context.Context, a *Account, q Question) (Answer, error) {
	if q.Location == "" {
		return Answer{}, errors.New("the question has no location")
	}
	offers, err := a.offers(ctx, q.Location)
	if err == nil {
		var uses []use
		uses, err = a.uses(ctx, q.Location)
		if err == nil {
			return Answer{Problems: problems(q, offers, uses), Sizes: sizes(q, offers)}, nil
		}
	}
	if said := refusal(err); said != "" {
		return Answer{Problems: []string{fmt.Sprintf("Azure refuses application %s of tenant %s for subscription %s: %s", q.Client, q.Tenant, q.Subscription, said)}}, nil
	}
	return Answer{}, fmt.Errorf("asking Azure about region %s: %w", q.Location, err)
}

// left lists what there is of a cluster.
func left(ctx context.Context, a *Account, q Question) (Answer, error) {
	if q.Cluster == "" {
		return Answer{}, errors.New("the question has no cluster")
	}
	filter := fmt.Sprintf("tagName eq '%s' and tagValue eq 'owned'", ownedTag+q.Cluster)
	var ids []string
	groups := a.groups.NewListPager(&armresources.ResourceGroupsClientListOptions{Filter: &filter})
	for groups.More() {
		page, err := groups.NextPage(ctx)
		if err != nil {
			return Answer{}, fmt.Errorf("listing the resource groups of cluster %s: %w", q.Cluster, brief(err))
		}
		for _, g := range page.Value {
			ids = append(ids, value(g.ID))
		}
	}
	resources := a.resources.NewListPager(&armresources.ClientListOptions{Filter: &filter})
	for resources.More() {
		page, err := resources.NextPage(ctx)
		if err != nil {
			return Answer{}, fmt.Errorf("listing the resources of cluster %s: %w", q.Cluster, brief(err))
		}
		for _, r := range page.Value {
			ids = append(ids, value(r.ID))
		}
	}
	slices.Sort(ids)
	return Answer{Left: slices.Compact(ids)}, nil
}

// offers returns the sizes of machines in a region.
func (a *Account) offers(ctx context.Context, location string) ([]offer, error) {
	filter := fmt.Sprintf("location eq '%s'", location)
	var all []offer
	pager := a.skus.NewListPager(&armcompute.ResourceSKUsClientListOptions{Filter: &filter})
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, sku := range page.Value {
			if value(sku.ResourceType) == "virtualMachines" {
				all = append(all, offerOf(sku))
			}
		}
	}
	return all, nil
}

func offerOf(sku *armcompute.ResourceSKU) offer {
	o := offer{name: value(sku.Name), family: value(sku.Family)}
	for _, c := range sku.Capabilities {
		switch value(c.Name) {
		case "vCPUs":
			o.cores, _ = strconv.ParseInt(value(c.Value), 10, 64) // a size that does not say so needs none of a quota
		case "MemoryGB":
			memory, _ := strconv.ParseFloat(value(c.Value), 64) // some have a half
			o.memory = int64(memory * 1024)
		}
	}
	for _, r := range sku.Restrictions {
		if value(r.Type) == armcompute.ResourceSKURestrictionsTypeLocation {
			o.refused = string(value(r.ReasonCode))
		}
	}
	return o
}

// uses returns what the subscription uses in a region.
func (a *Account) uses(ctx context.Context, location string) ([]use, error) {
	var all []use
	pager := a.usage.NewListPager(location, nil)
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, u := range page.Value {
			if u.Name == nil || u.Limit == nil || u.CurrentValue == nil {
				continue
			}
			all = append(all, use{name: value(u.Name.Value), shown: value(u.Name.LocalizedValue), used: int64(*u.CurrentValue), limit: *u.Limit})
		}
	}
	return all, nil
}

// refusal returns what Azure says to whoever may not do something, in a line; empty when that is not what went wrong.
func refusal(err error) string {
	if signIn, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok && signIn.RawResponse != nil && signIn.RawResponse.StatusCode < http.StatusInternalServerError {
		var said struct {
			Description string `json:"error_description"`
		}
		if body, err := runtime.Payload(signIn.RawResponse); err == nil && json.Unmarshal(body, &said) == nil && said.Description != "" {
			return firstLine(said.Description)
		}
		return signIn.RawResponse.Status
	}
	answer, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok || !slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusBadRequest}, answer.StatusCode) {
		return ""
	}
	return spoken(answer)
}

// brief is an error without the whole answer that it is about.
func brief(err error) error {
	if said := refusal(err); said != "" {
		return errors.New(said)
	}
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return errors.New(spoken(answer))
	}
	return err
}

// spoken returns the code and the message of Azure Resource Manager's answer.
func spoken(answer *azcore.ResponseError) string {
	var said struct {
		Error struct{ Code, Message string }
	}
	if answer.RawResponse != nil {
		if body, err := runtime.Payload(answer.RawResponse); err == nil && json.Unmarshal(body, &said) == nil && said.Error.Message != "" {
			return said.Error.Code + ": " + firstLine(said.Error.Message)
		}
	}
	return strings.TrimSpace(fmt.Sprintf("%s (%d %s)", answer.ErrorCode, answer.StatusCode, http.StatusText(answer.StatusCode)))
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}

// value is what a pointer of Azure's models points to, nothing where there is none.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
