package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	key    = "AKIA0"
	secret = "swordfish"
)

// standIn answers as AWS' documentation says that its services do, in XML (EC2, STS) and JSON (Service Quotas, tags): a region with a type of two
// cores in one zone, an image, and an account that runs something. Each list comes in two pages. Signatures it does not check; moto does.
type standIn struct {
	*testing.T
	// refuse has a call answered by a code of AWS.
	refuse map[string]string
	// quotas are those of the account, by their codes; usual those of AWS.
	quotas, usual map[string]float64
	heard         []string
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Authorization"), "Credential="+key+"/") {
		s.xmlError(w, "InvalidClientTokenId", "The security token included in the request is invalid.")
		return
	}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		s.inJSON(w, r, target[strings.LastIndex(target, ".")+1:])
		return
	}
	if err := r.ParseForm(); err != nil {
		s.Error(err)
	}
	s.inXML(w, r.PostForm.Get("Action"), r.PostForm)
}

func (s *standIn) inXML(w http.ResponseWriter, call string, form url.Values) {
	s.heard = append(s.heard, call)
	if code := s.refuse[call]; code != "" {
		s.xmlError(w, code, "You are not authorized to perform this operation. Encoded authorization failure message: ABCDEF")
		return
	}
	asked := func(name string) bool {
		for field, values := range form {
			if strings.HasPrefix(field, "Filter.1.Value.") && values[0] == name {
				return true
			}
		}
		return false
	}
	var all []string
	var list string
	switch call {
	case "GetCallerIdentity":
		fmt.Fprint(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::1:user/umbel</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>`)
		return
	case "RunInstances":
		if form.Get("DryRun") != "true" {
			s.Errorf("it would run an instance: %v", form)
		}
		w.WriteHeader(http.StatusPreconditionFailed)
		fmt.Fprint(w, ec2Error("DryRunOperation", "Request would have succeeded, but DryRun flag is set."))
		return
	case "DescribeInstanceTypes":
		for _, name := range []string{"t3.large", "p4.large"} {
			if asked(name) {
				all = append(all, "<instanceType>"+name+"</instanceType><vCpuInfo><defaultVCpus>2</defaultVCpus></vCpuInfo><memoryInfo><sizeInMiB>8192</sizeInMiB></memoryInfo>")
			}
		}
		list = "instanceTypeSet"
	case "DescribeInstanceTypeOfferings":
		all, list = []string{"<instanceType>t3.large</instanceType><location>us-east-1a</location>", "<instanceType>p4.large</instanceType><location>us-east-1a</location>"}, "instanceTypeOfferingSet"
	case "DescribeImages":
		if asked("ami-1") {
			all = append(all, "<imageId>ami-1</imageId>")
		}
		list = "imagesSet"
	case "DescribeInstances":
		one := func(kind, more string) string {
			return "<instancesSet><item><instanceType>" + kind + "</instanceType><cpuOptions><coreCount>2</coreCount><threadsPerCore>2</threadsPerCore></cpuOptions>" + more + "</item></instancesSet>"
		}
		all, list = []string{one("m5.xlarge", ""), one("c5.xlarge", ""), one("p4.xlarge", ""), one("m5.xlarge", "<instanceLifecycle>spot</instanceLifecycle>")}, "reservationSet"
	case "DescribeVpcs":
		all, list = []string{"<vpcId>vpc-1</vpcId>", "<vpcId>vpc-2</vpcId>"}, "vpcSet"
	case "DescribeAddresses":
		all, list = []string{"<allocationId>a</allocationId>", "<allocationId>b</allocationId>"}, "addressesSet"
	default:
		s.Errorf("it asks for %s", call)
	}
	var next string
	if len(all) > 1 && call != "DescribeAddresses" {
		if form.Get("NextToken") == "" {
			all, next = all[:1], "<nextToken>more</nextToken>"
		} else {
			all = all[1:]
		}
	}
	fmt.Fprintf(w, `<%sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>0</requestId><%s>`, call, list)
	for _, one := range all {
		fmt.Fprint(w, "<item>"+one+"</item>")
	}
	fmt.Fprintf(w, "</%s>%s</%sResponse>", list, next, call)
}

func (s *standIn) xmlError(w http.ResponseWriter, code, message string) {
	w.WriteHeader(http.StatusForbidden)
	if strings.HasPrefix(code, "Unauthorized") || strings.Contains(code, "Limit") || strings.HasPrefix(code, "VPC") {
		fmt.Fprint(w, ec2Error(code, message))
		return
	}
	fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>0</RequestId></ErrorResponse>`, code, message)
}

func ec2Error(code, message string) string {
	return fmt.Sprintf(`<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>0</RequestID></Response>`, code, message)
}

func (s *standIn) inJSON(w http.ResponseWriter, r *http.Request, call string) {
	s.heard = append(s.heard, call)
	var asked struct {
		QuotaCode, PaginationToken string
		TagFilters                 []struct {
			Key    string
			Values []string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		s.Error(err)
	}
	fail := func(code string) {
		w.Header().Set("X-Amzn-ErrorType", code)
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":%q,"message":"it says so"}`, code)
	}
	if code := s.refuse[call]; code != "" {
		fail(code)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	switch call {
	case "GetServiceQuota", "GetAWSDefaultServiceQuota":
		from := s.quotas
		if call != "GetServiceQuota" {
			from = s.usual
		}
		limit, known := from[asked.QuotaCode]
		if !known {
			fail("NoSuchResourceException")
			return
		}
		fmt.Fprintf(w, `{"Quota":{"QuotaCode":%q,"Value":%v}}`, asked.QuotaCode, limit)
	case "GetResources":
		if len(asked.TagFilters) != 1 || asked.TagFilters[0].Key != "sigs.k8s.io/cluster-api-provider-aws/cluster/far" || len(asked.TagFilters[0].Values) != 1 || asked.TagFilters[0].Values[0] != "owned" {
			s.Errorf("it asks for what is tagged %v", asked.TagFilters)
		}
		if asked.PaginationToken == "" {
			fmt.Fprint(w, `{"PaginationToken":"more","ResourceTagMappingList":[{"ResourceARN":"arn:aws:ec2:us-east-1:1:vpc/vpc-1"}]}`)
			return
		}
		fmt.Fprint(w, `{"PaginationToken":"","ResourceTagMappingList":[{"ResourceARN":"arn:aws:ec2:us-east-1:1:instance/i-1"}]}`)
	default:
		s.Errorf("it asks for %s", call)
	}
}

// ask runs the program.
func ask(t *testing.T, command string, q Question) (Answer, error) {
	t.Helper()
	raw, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = run(t.Context(), []string{command}, bytes.NewReader(raw), &out)
	if said := fmt.Sprint(out.String(), err); q.Secret != "" && strings.Contains(said, q.Secret) {
		t.Errorf("it says the secret: %s", said)
	}
	var a Answer
	if err == nil {
		err = json.Unmarshal(out.Bytes(), &a)
	}
	return a, err
}

func newStandIn(t *testing.T) (*standIn, Question) {
	s := &standIn{T: t, refuse: map[string]string{}, quotas: map[string]float64{"L-1216C47A": 14, "L-0263D0A3": 5}, usual: map[string]float64{"L-F678F1CE": 5}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, Question{
		Region: "us-east-1", Key: key, Secret: secret, From: "Secret umbel-system/aws", Cluster: "far",
		Endpoints: map[string]string{"ec2": server.URL, "sts": server.URL, "servicequotas": server.URL, "tagging": server.URL},
		Network:   &Network{VPCs: 1, Addresses: 3},
		Machines:  []Machines{{Number: 1, Type: "t3.large", Image: "ami-1", Profile: "nodes", Zone: "us-east-1a"}, {Number: 2, Type: "t3.large", Image: "ami-1", Profile: "nodes"}},
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		reason        string
		ask           func(*Question)
		aws           func(*standIn)
		want, unknown []string // parts, of each problem and of what is not known
		err           string
	}{
		{reason: "what there is room for: of 14 cores 8 are used, spot instances and other families are not counted, and three machines have 6"},
		{reason: "no machines of a cluster that is there need nothing", ask: func(q *Question) { q.Machines, q.Network = nil, nil }},
		{
			reason: "a key that is not known", ask: func(q *Question) { q.Key = "AKIA1" },
			want: []string{"AWS refuses the access key of Secret umbel-system/aws in region us-east-1: InvalidClientTokenId: The security token included in the request is invalid: change it there"},
		},
		{reason: "AWS is busy, which is no answer", aws: func(s *standIn) { s.refuse["GetCallerIdentity"] = "Throttling" }, err: "signing in at AWS in region us-east-1: Throttling"},
		{
			reason: "a type that is not there", ask: func(q *Question) { q.Machines[1].Type = "t9.large" },
			want: []string{`region us-east-1 has no instances of type "t9.large" (instanceType): ` + "`aws ec2 describe-instance-type-offerings --region us-east-1`"},
		},
		{reason: "a zone without the type", ask: func(q *Question) { q.Machines[0].Zone = "us-east-1e" }, want: []string{`zone us-east-1e has no instances of type "t3.large": take another zone`}},
		{reason: "an image that is not there", ask: func(q *Question) { q.Machines[1].Image = "ami-2" }, want: []string{`region us-east-1 has no image "ami-2" (ami.id) that this account may use`}},
		{reason: "an image that the provider looks up", ask: func(q *Question) { q.Machines[0].Image, q.Machines[1].Image = "", "" }},
		{
			reason: "a key that may run nothing", aws: func(s *standIn) { s.refuse["RunInstances"] = "UnauthorizedOperation" },
			want: []string{`AWS would run no instance of type t3.large of image ami-1 with instance profile "nodes" in region us-east-1: UnauthorizedOperation: You are not authorized to perform this operation: see that the key of Secret umbel-system/aws may`},
		},
		{reason: "an account without a network yet", aws: func(s *standIn) { s.refuse["RunInstances"] = "VPCIdNotSpecified" }},
		{
			reason: "one machine more than the cores", ask: func(q *Question) { q.Machines[1].Number = 3 },
			want: []string{`quota "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances, in vCPUs" in region us-east-1: 8 of 14 are used, and the cluster needs 8: ask AWS for more (` + "`aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-1216C47A`), or take less"},
		},
		{reason: "one address more than there may be", ask: func(q *Question) { q.Network.Addresses = 4 }, want: []string{`quota "EC2-VPC Elastic IPs" in region us-east-1: 2 of 5 are used, and the cluster needs 4`}},
		{reason: "one network more than is usual", aws: func(s *standIn) { s.usual["L-F678F1CE"] = 2 }, want: []string{`quota "VPCs per Region" in region us-east-1: 2 of 2 are used, and the cluster needs 1`}},
		{
			reason: "quotas that may not be read keep nobody from going on", aws: func(s *standIn) {
				s.refuse["GetServiceQuota"], s.refuse["GetAWSDefaultServiceQuota"] = "AccessDeniedException", "AccessDeniedException"
			},
			unknown: []string{"how many instances may be run in region us-east-1: AccessDeniedException: it says so", "how many networks there may be", "how many addresses there may be"},
		},
		{reason: "a type with a quota of its own", ask: func(q *Question) { q.Machines[1].Type = "p4.large" }, unknown: []string{"the quota of instances of type p4.large in region us-east-1"}},
		{reason: "all that is in the way", ask: func(q *Question) {
			q.Machines[0].Type, q.Machines[1].Image, q.Network.Addresses = "t9.large", "ami-2", 4
		}, want: []string{"t9.large", "ami-2", "Elastic IPs"}},
		{reason: "an AWS that is away is no answer", ask: func(q *Question) { q.Endpoints["sts"] = "http://127.0.0.1:1" }, err: "signing in at AWS in region us-east-1"},
		{reason: "no secret", ask: func(q *Question) { q.Secret = "" }, err: "no secret"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			s, q := newStandIn(t)
			if c.ask != nil {
				c.ask(&q)
			}
			if c.aws != nil {
				c.aws(s)
			}
			got, err := ask(t, "check", q)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got error %v, want one that says %q", err, c.err)
			}
			for what, said := range map[string]struct{ got, want []string }{"refuses": {got.Problems, c.want}, "does not know": {got.Unknown, c.unknown}} {
				if len(said.got) != len(said.want) {
					t.Errorf("it %s %q, want %q", what, said.got, said.want)
				}
				for _, part := range said.want {
					if !strings.Contains(strings.Join(said.got, "\n"), part) {
						t.Errorf("it %s %q, without %q", what, said.got, part)
					}
				}
			}
			if c.err == "" && len(c.want) == 0 {
				var want []Size
				for range q.Machines {
					want = append(want, Size{2, 8192})
				}
				if diff := cmp.Diff(want, got.Sizes); diff != "" {
					t.Errorf("of sizes (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestLeft(t *testing.T) {
	s, q := newStandIn(t)
	got, err := ask(t, "left", q)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"arn:aws:ec2:us-east-1:1:instance/i-1", "arn:aws:ec2:us-east-1:1:vpc/vpc-1"}, got.Left); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s.refuse["GetResources"] = "AccessDeniedException"
	if got, err := ask(t, "left", q); err == nil || !strings.Contains(err.Error(), "listing what is tagged as cluster far in region us-east-1: AccessDeniedException") {
		t.Errorf("of a list that is refused it says %v (%v)", got, err)
	}
	q.Cluster = ""
	if _, err := ask(t, "left", q); err == nil || !strings.Contains(err.Error(), "no cluster") {
		t.Errorf("of no cluster: %v", err)
	}
}

func TestStandard(t *testing.T) {
	for kind, want := range map[string]bool{
		"t3.large": true, "m7i-flex.large": true, "im4gn.large": true, "is4gen.large": true, "z1d.large": true, "a1.large": true,
		"p4d.24xlarge": false, "g5.xlarge": false, "mac1.metal": false, "inf1.xlarge": false, "u-6tb1.metal": false, "x2idn.16xlarge": false, "dl1.24xlarge": false, "hpc6a.48xlarge": false, "": false,
	} {
		if got := standard(kind); got != want {
			t.Errorf("%s: got %v", kind, got)
		}
	}
}

// TestTheQuestionOfUmbel is understood as it is asked: umbel's own test holds the same file against that.
func TestTheQuestionOfUmbel(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "internal", "cli", "cluster", "testdata", "asked-AWSCluster.json"))
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	var q Question
	if err := decoder.Decode(&q); err != nil {
		t.Fatal(err)
	}
	if q.Secret == "" || q.From == "" || q.Network == nil || len(q.Machines) == 0 || q.Machines[0].Type == "" {
		t.Errorf("it has understood %+v", q)
	}
}

func TestQuestions(t *testing.T) {
	for given, want := range map[string]string{`{`: "reading the question", `{"region":"t","x":"y"}`: `unknown field "x"`, `{}`: "the question has no "} {
		if err := run(t.Context(), []string{"check"}, strings.NewReader(given), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", given, err, want)
		}
	}
	if err := run(t.Context(), []string{"burn"}, strings.NewReader(`{}`), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "usage") {
		t.Errorf("an unknown command: %v", err)
	}
}
