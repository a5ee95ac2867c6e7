package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Account is an account of AWS in a region, as the owner of a key sees it. AWS' client of EC2 takes minutes to compile: of its libraries this has what
// signs, and asks as https://docs.aws.amazon.com/AWSEC2/latest/APIReference says.
type Account struct {
	q    Question
	key  aws.Credentials
	http http.Client
}

// open begins with an account. It asks AWS nothing yet.
func open(q Question) (*Account, error) {
	for field, value := range map[string]string{"region": q.Region, "key": q.Key, "secret": q.Secret} {
		if value == "" {
			return nil, fmt.Errorf("the question has no %s", field)
		}
	}
	return &Account{q: q, key: aws.Credentials{AccessKeyID: q.Key, SecretAccessKey: q.Secret, SessionToken: q.Token}, http: http.Client{Timeout: 20 * time.Second}}, nil
}

// refused is what AWS has against a request.
type refused struct{ code, message string }

func (r *refused) Error() string { return r.code + ": " + r.message }

// versions are those of the services that answer in XML.
var versions = map[string]string{"ec2": "2016-11-15", "sts": "2011-06-15"}

// query asks a service that answers in XML.
func (a *Account) query(ctx context.Context, service, action string, params url.Values, into any) error {
	form := url.Values{"Action": {action}, "Version": {versions[service]}}
	for name, values := range params {
		form[name] = values
	}
	raw, err := a.send(ctx, service, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, []byte(form.Encode()))
	if err == nil {
		err = xml.Unmarshal(raw, into)
	}
	return err
}

// call asks a service that answers in JSON.
func (a *Account) call(ctx context.Context, service, target string, asked, into any) error {
	body, err := json.Marshal(asked)
	if err != nil {
		return err
	}
	raw, err := a.send(ctx, service, http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {target}}, body)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	return err
}

// send signs a request, and returns the answer.
func (a *Account) send(ctx context.Context, service string, header http.Header, body []byte) ([]byte, error) {
	domain := "amazonaws.com"
	if strings.HasPrefix(a.q.Region, "cn-") {
		domain += ".cn"
	}
	where := a.q.Endpoints[service]
	if where == "" {
		where = fmt.Sprintf("https://%s.%s.%s", service, a.q.Region, domain)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(where, "/")+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	hash := sha256.Sum256(body)
	if err := signer.NewSigner().SignHTTP(ctx, a.key, req, hex.EncodeToString(hash[:]), service, a.q.Region, time.Now()); err != nil {
		return nil, err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return nil, refusalIn(resp.Status, raw)
	}
	return raw, nil
}

// refusalIn reads what a service has against a request: EC2, STS and those that speak JSON say it each in its own way.
func refusalIn(status string, raw []byte) error {
	var said struct {
		EC2Code    string `xml:"Errors>Error>Code"`
		EC2Message string `xml:"Errors>Error>Message"`
		Code       string `xml:"Error>Code"`
		Message    string `xml:"Error>Message"`
	}
	var inJSON struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	switch {
	case xml.Unmarshal(raw, &said) == nil && said.EC2Code != "":
		return &refused{said.EC2Code, said.EC2Message}
	case said.Code != "":
		return &refused{said.Code, said.Message}
	case json.Unmarshal(raw, &inJSON) == nil && inJSON.Type != "":
		return &refused{inJSON.Type[strings.LastIndex(inJSON.Type, "#")+1:], inJSON.Message}
	}
	return errors.New("it answers " + status)
}

// Page is a part of a list of EC2, with a token for the next one; empty in the last.
type Page struct {
	NextToken string `xml:"nextToken"`
}

func (p Page) next() string { return p.NextToken }

// pages reads a list of EC2 to its end.
func pages[T interface{ next() string }](ctx context.Context, a *Account, action string, params url.Values, take func(T)) error {
	for token := ""; ; {
		asked := url.Values{}
		for name, values := range params {
			asked[name] = values
		}
		if token != "" {
			asked.Set("NextToken", token)
		}
		var page T
		if err := a.query(ctx, "ec2", action, asked, &page); err != nil {
			return err
		}
		take(page)
		if token = page.next(); token == "" {
			return nil
		}
	}
}

// filter is one of EC2: of what has one of these values.
func filter(name string, values []string) url.Values {
	f := url.Values{"Filter.1.Name": {name}}
	for i, value := range values {
		f.Set(fmt.Sprintf("Filter.1.Value.%d", i+1), value)
	}
	return f
}
