package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	azfake "github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v5"
	computefake "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v5/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	resourcesfake "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources/fake"
	"github.com/google/go-cmp/cmp"
)

const (
	tenant       = "11111111-1111-1111-1111-111111111111"
	subscription = "22222222-2222-2222-2222-222222222222"
	client       = "33333333-3333-3333-3333-333333333333"
	secret       = "right"
)

// azure is Azure as these tests need it: the SDK's typed fake servers for its Resource Manager, and in the place of its sign-in, for which the
// SDK has none, one that knows one application.
type azure struct {
	t         *testing.T
	compute   computefake.ServerFactory
	resources resourcesfake.ServerFactory
	down      bool
	filters   []string

	computeAt, resourcesAt policy.Transporter // they know which pages were given
}

// Do implements policy.Transporter.
func (a *azure) Do(req *http.Request) (*http.Response, error) {
	switch {
	case a.down:
		return nil, errors.New("dial tcp: lookup login.microsoftonline.com: no such host")
	case req.URL.Host == "login.microsoftonline.com":
		return a.signIn(req)
	case req.Header.Get("Authorization") != "Bearer of-"+client:
		a.t.Errorf("%s %s comes without the token that was given", req.Method, req.URL.Path)
	}
	if filter := req.URL.Query().Get("$filter"); filter != "" {
		a.filters = append(a.filters, filter)
	}
	name, _ := req.Context().Value(runtime.CtxAPINameKey{}).(string)
	if strings.HasPrefix(name, "Client.") || strings.HasPrefix(name, "ResourceGroupsClient.") {
		return a.resourcesAt.Do(req)
	}
	return a.computeAt.Do(req)
}

func (a *azure) signIn(req *http.Request) (*http.Response, error) {
	at := "https://login.microsoftonline.com/" + tenant
	switch {
	case strings.HasSuffix(req.URL.Path, "/discovery/instance"):
		return answer(req, http.StatusOK, map[string]any{"tenant_discovery_endpoint": at + "/v2.0/.well-known/openid-configuration", "metadata": []any{map[string]any{
			"preferred_network": "login.microsoftonline.com", "preferred_cache": "login.windows.net", "aliases": []any{"login.microsoftonline.com"},
		}}})
	case strings.HasSuffix(req.URL.Path, "/openid-configuration"):
		return answer(req, http.StatusOK, map[string]any{"issuer": at + "/v2.0", "authorization_endpoint": at + "/oauth2/v2.0/authorize", "token_endpoint": at + "/oauth2/v2.0/token"})
	}
	if err := req.ParseForm(); err != nil {
		return nil, err
	}
	if req.PostForm.Get("client_id") != client || req.PostForm.Get("client_secret") != secret {
		return answer(req, http.StatusUnauthorized, map[string]any{
			"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID.\r\nTrace ID: 0",
		})
	}
	return answer(req, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": 3600, "access_token": "of-" + client})
}

func answer(req *http.Request, status int, body any) (*http.Response, error) {
	raw, err := json.Marshal(body)
	return &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Request: req, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(raw)), ContentLength: int64(len(raw)),
	}, err
}

// offering has a region with machines of two cores, of which there may be five; each of its answers comes in two pages.
func offering(t *testing.T) *azure {
	a := &azure{t: t}
	a.computeAt, a.resourcesAt = computefake.NewServerFactoryTransport(&a.compute), resourcesfake.NewServerFactoryTransport(&a.resources)
	a.compute.ResourceSKUsServer.NewListPager = func(*armcompute.ResourceSKUsClientListOptions) (resp azfake.PagerResponder[armcompute.ResourceSKUsClientListResponse]) {
		page := func(skus ...*armcompute.ResourceSKU) armcompute.ResourceSKUsClientListResponse {
			return armcompute.ResourceSKUsClientListResponse{ResourceSKUsResult: armcompute.ResourceSKUsResult{Value: skus}}
		}
		resp.AddPage(http.StatusOK, page(&armcompute.ResourceSKU{ResourceType: to.Ptr("disks"), Name: to.Ptr("Premium_LRS")}, sku("Standard_NC6", "standardNCFamily", "6", true)), nil)
		resp.AddPage(http.StatusOK, page(sku("Standard_D2s_v3", "standardDSv3Family", "2", false)), nil)
		return resp
	}
	a.compute.UsageServer.NewListPager = func(location string, _ *armcompute.UsageClientListOptions) (resp azfake.PagerResponder[armcompute.UsageClientListResponse]) {
		if location != "westeurope" {
			resp.AddResponseError(http.StatusBadRequest, "LocationNotAvailableForResourceType")
			return resp
		}
		page := func(name, shown string, used int32, limit int64) armcompute.UsageClientListResponse {
			return armcompute.UsageClientListResponse{ListUsagesResult: armcompute.ListUsagesResult{Value: []*armcompute.Usage{
				{Name: &armcompute.UsageName{Value: &name, LocalizedValue: &shown}, CurrentValue: &used, Limit: &limit, Unit: to.Ptr("Count")},
			}}}
		}
		resp.AddPage(http.StatusOK, page("cores", "Total Regional vCPUs", 4, 100), nil)
		resp.AddPage(http.StatusOK, page("standardDSv3Family", "Standard DSv3 Family vCPUs", 4, 10), nil)
		return resp
	}
	return a
}

func sku(name, family, cores string, refused bool) *armcompute.ResourceSKU {
	s := &armcompute.ResourceSKU{
		ResourceType: to.Ptr("virtualMachines"), Name: &name, Family: &family,
		Capabilities: []*armcompute.ResourceSKUCapabilities{{Name: to.Ptr("MemoryGB"), Value: to.Ptr("8")}, {Name: to.Ptr("vCPUs"), Value: &cores}},
	}
	if refused {
		s.Restrictions = []*armcompute.ResourceSKURestrictions{{
			Type: to.Ptr(armcompute.ResourceSKURestrictionsTypeLocation), ReasonCode: to.Ptr(armcompute.ResourceSKURestrictionsReasonCodeNotAvailableForSubscription),
		}}
	}
	return s
}

// ask runs the program with a question.
func (a *azure) ask(command string, q Question) (Answer, error) {
	raw, err := json.Marshal(q)
	if err != nil {
		a.t.Fatal(err)
	}
	options := &arm.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: a, Retry: policy.RetryOptions{MaxRetries: -1}}}
	var out bytes.Buffer
	if err := run(a.t.Context(), []string{command}, bytes.NewReader(raw), &out, options); err != nil {
		return Answer{}, err
	}
	var answered Answer
	if err := json.Unmarshal(out.Bytes(), &answered); err != nil {
		a.t.Fatalf("it answered %q: %v", out.String(), err)
	}
	return answered, nil
}

func question(change ...func(*Question)) Question {
	q := Question{
		Tenant: tenant, Client: client, Secret: secret, Subscription: subscription, Location: "westeurope", Machines: []Machines{{"Standard_D2s_v3", 3}}, Cluster: "far",
	}
	for _, c := range change {
		c(&q)
	}
	return q
}

func TestCheck(t *testing.T) {
	refused := "Azure refuses application " + client + " of tenant " + tenant + " for subscription " + subscription + ": "
	for _, c := range []struct {
		reason string
		azure  func(*azure)
		ask    func(*Question)
		want   []string
		err    string
	}{
		{reason: "what there is room for"},
		{
			reason: "one machine more than the quota, which is on the last page", ask: func(q *Question) { q.Machines[0].Number = 4 },
			want: []string{`quota "Standard DSv3 Family vCPUs" in region westeurope: 4 of 10 are used, and the machines need 8 (size Standard_D2s_v3): ask Azure for more (portal, Quotas), or take fewer or other machines`},
		},
		{
			reason: "a size that this subscription may not have", ask: func(q *Question) { q.Machines[0].Size = "Standard_NC6" },
			want: []string{"this subscription may have no machines of size Standard_NC6 in region westeurope (NotAvailableForSubscription): take another vmSize or region, or ask Azure for it"},
		},
		{
			reason: "a disk is no machine", ask: func(q *Question) { q.Machines[0].Size = "Premium_LRS" },
			want: []string{"region westeurope has no machines of size \"Premium_LRS\" (vmSize): `az vm list-skus --location westeurope --resource-type virtualMachines` lists those that it has"},
		},
		{
			reason: "credentials that are refused, in Azure's words and one line", ask: func(q *Question) { q.Secret = "wrong-secret" },
			want: []string{refused + "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID."},
		},
		{
			reason: "an application that may not look", azure: func(a *azure) {
				a.compute.ResourceSKUsServer.NewListPager = func(*armcompute.ResourceSKUsClientListOptions) (resp azfake.PagerResponder[armcompute.ResourceSKUsClientListResponse]) {
					resp.AddResponseError(http.StatusForbidden, "AuthorizationFailed")
					return resp
				}
			},
			want: []string{refused + "AuthorizationFailed (403 Forbidden)"},
		},
		{
			reason: "a subscription that is not there", azure: func(a *azure) {
				a.compute.ResourceSKUsServer.NewListPager = func(*armcompute.ResourceSKUsClientListOptions) (resp azfake.PagerResponder[armcompute.ResourceSKUsClientListResponse]) {
					resp.AddResponseError(http.StatusNotFound, "SubscriptionNotFound")
					return resp
				}
			},
			want: []string{refused + "SubscriptionNotFound (404 Not Found)"},
		},
		{
			reason: "a region that is not there", ask: func(q *Question) { q.Location = "atlantis" },
			want: []string{refused + "LocationNotAvailableForResourceType (400 Bad Request)"},
		},
		{
			reason: "what Azure cannot say is no answer", azure: func(a *azure) {
				a.compute.UsageServer.NewListPager = func(string, *armcompute.UsageClientListOptions) (resp azfake.PagerResponder[armcompute.UsageClientListResponse]) {
					resp.AddResponseError(http.StatusServiceUnavailable, "ServerTimeout")
					return resp
				}
			},
			err: "asking Azure about region westeurope",
		},
		{reason: "neither is an Azure that cannot be reached", azure: func(a *azure) { a.down = true }, err: "no such host"},
		{reason: "a cloud that nobody knows", ask: func(q *Question) { q.Cloud = "AzureMoon" }, err: `cloud "AzureMoon"`},
		{reason: "no region", ask: func(q *Question) { q.Location = "" }, err: "no location"},
		{reason: "no secret", ask: func(q *Question) { q.Secret = "" }, err: "no secret"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			a, q := offering(t), question()
			if c.azure != nil {
				c.azure(a)
			}
			if c.ask != nil {
				c.ask(&q)
			}
			got, err := a.ask("check", q)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got error %v, want one that says %q", err, c.err)
			}
			if c.err == "" && len(c.want) == 0 && (len(got.Sizes) != 1 || got.Sizes[0] != Size{2, 8192}) {
				t.Errorf("of machines of two cores it says the sizes %v", got.Sizes)
			}
			if diff := cmp.Diff(c.want, got.Problems); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if said := fmt.Sprint(got, err); q.Secret != "" && strings.Contains(said, "wrong-secret") {
				t.Errorf("it says the secret: %s", said)
			}
		})
	}
}

func TestLeft(t *testing.T) {
	a := offering(t)
	group := "/subscriptions/" + subscription + "/resourceGroups/far"
	more := group + "/providers/Microsoft.Network/virtualNetworks/far-vnet"
	a.resources.ResourceGroupsServer.NewListPager = func(*armresources.ResourceGroupsClientListOptions) (resp azfake.PagerResponder[armresources.ResourceGroupsClientListResponse]) {
		resp.AddPage(http.StatusOK, armresources.ResourceGroupsClientListResponse{ResourceGroupListResult: armresources.ResourceGroupListResult{Value: []*armresources.ResourceGroup{{ID: &group}}}}, nil)
		return resp
	}
	fails := false
	a.resources.Server.NewListPager = func(*armresources.ClientListOptions) (resp azfake.PagerResponder[armresources.ClientListResponse]) {
		page := func(id string) armresources.ClientListResponse {
			return armresources.ClientListResponse{ResourceListResult: armresources.ResourceListResult{Value: []*armresources.GenericResourceExpanded{{ID: &id}}}}
		}
		resp.AddPage(http.StatusOK, page(more), nil)
		if fails {
			resp.AddResponseError(http.StatusForbidden, "AuthorizationFailed")
			return resp
		}
		resp.AddPage(http.StatusOK, page(group+"/providers/Microsoft.Compute/virtualMachines/far-1"), nil)
		return resp
	}
	got, err := a.ask("left", question())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{group, group + "/providers/Microsoft.Compute/virtualMachines/far-1", more}, got.Left); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, filter := range a.filters {
		if want := "tagName eq 'sigs.k8s.io_cluster-api-provider-azure_cluster_far' and tagValue eq 'owned'"; filter != want {
			t.Errorf("it asked for what is %q and not %q", filter, want)
		}
	}
	if len(a.filters) < 2 {
		t.Errorf("it asked with the filters %q only", a.filters)
	}
	fails = true
	if got, err := a.ask("left", question()); err == nil || !strings.Contains(err.Error(), "listing the resources of cluster far: AuthorizationFailed") {
		t.Errorf("of a list whose end was refused it says %v (%v)", got, err)
	}
}

func TestQuestions(t *testing.T) {
	for given, want := range map[string]string{
		`{`:                      "reading the question",
		`{"tenant":"t","x":"y"}`: `unknown field "x"`,
	} {
		if err := run(t.Context(), []string{"check"}, strings.NewReader(given), io.Discard, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", given, err, want)
		}
	}
	if err := run(t.Context(), []string{"burn"}, strings.NewReader(`{}`), io.Discard, nil); err == nil || !strings.Contains(err.Error(), "usage") {
		t.Errorf("an unknown command: %v", err)
	}
}

// TestTheQuestionOfUmbel is understood as it is asked: umbel's own test holds the same file against that.
func TestTheQuestionOfUmbel(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "internal", "cli", "cluster", "testdata", "asked-AzureCluster.json"))
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	var q Question
	if err := decoder.Decode(&q); err != nil {
		t.Fatal(err)
	}
	if q.Secret == "" || q.Location == "" || len(q.Machines) == 0 || q.Machines[0].Size == "" {
		t.Errorf("it has understood %+v", q)
	}
}
