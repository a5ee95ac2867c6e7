package fakekube

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// Server is the API server of one member.
type Server struct {
	store *store
}

// New returns a server with the namespaces default and kube-system, and that of the agent, as `umbel join` leaves it. written, if not nil, is told of each write; it
// must not block nor ask the server.
func New(written func(Write)) *Server {
	s := &Server{newStore()}
	s.store.written = written
	return s
}

// Config reaches the server.
func (s *Server) Config() *rest.Config {
	return &rest.Config{Host: "http://fakekube", Transport: s}
}

// RoundTrip implements http.RoundTripper.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close() //nolint:errcheck // it has been read
	}
	answer, err := s.serve(r)
	if err != nil {
		return respond(r, failure(err)), nil
	}
	return respond(r, answer), nil
}

// answer is what a request gets.
type answer struct {
	code int
	kind string // of the content; JSON unless set
	body io.ReadCloser
}

func respond(r *http.Request, a answer) *http.Response {
	if a.kind == "" {
		a.kind = "application/json"
	}
	return &http.Response{
		StatusCode: a.code, Status: fmt.Sprintf("%d %s", a.code, http.StatusText(a.code)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {a.kind}}, Body: a.body, ContentLength: -1, Request: r,
	}
}

func bytesOf(code int, body []byte) answer {
	return answer{code: code, body: io.NopCloser(bytes.NewReader(body))}
}

func failure(err error) answer {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = apierrors.NewInternalError(err)
	}
	status := known.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return bytesOf(int(status.Code), mustJSON(status))
}

func (s *Server) serve(r *http.Request) (answer, error) {
	switch r.URL.Path {
	case "/readyz", "/livez", "/healthz":
		return answer{code: http.StatusOK, kind: "text/plain", body: io.NopCloser(strings.NewReader("ok"))}, nil
	case "/version":
		return bytesOf(http.StatusOK, versionAnswer), nil
	case "/api", "/apis":
		return discover(r)
	}
	at, subresource, err := parsePath(r.URL.Path)
	if err != nil {
		return answer{}, err
	}
	query := r.URL.Query()
	switch {
	case subresource != "":
		return answer{}, apierrors.NewGenericServerResponse(http.StatusNotFound, "", at.group(), at.name, "the fake has no subresources", 0, true)
	case r.Method == http.MethodGet && at.name != "":
		o, err := s.store.get(at)
		return object(r, http.StatusOK, o, err)
	case r.Method == http.MethodGet && query.Get("watch") != "":
		return s.watch(r, at, query)
	case r.Method == http.MethodGet:
		return s.list(r, at, query)
	case r.Method == http.MethodPatch && at.name != "":
		return s.patch(r, at, query)
	case r.Method == http.MethodPost && at.name == "", r.Method == http.MethodPut && at.name != "":
		return s.write(r, at, query)
	case r.Method == http.MethodDelete && at.name != "":
		return s.delete(r, at)
	}
	return answer{}, apierrors.NewMethodNotSupported(at.group(), r.Method)
}

func discover(r *http.Request) (answer, error) {
	if !strings.Contains(r.Header.Get("Accept"), "as=APIGroupDiscoveryList") {
		return answer{}, apierrors.NewGenericServerResponse(http.StatusNotAcceptable, "", schema.GroupResource{}, "", "the fake has aggregated discovery alone", 0, true)
	}
	body := groupDiscovery
	if r.URL.Path == "/api" {
		body = coreDiscovery
	}
	a := bytesOf(http.StatusOK, body)
	a.kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
	return a, nil
}

// parsePath reads /api/VERSION/… and /apis/GROUP/VERSION/….
func parsePath(path string) (at id, subresource string, err error) {
	unknown := apierrors.NewGenericServerResponse(http.StatusNotFound, "", schema.GroupResource{}, "", "the server could not find the requested resource", 0, true)
	parts := strings.Split(strings.Trim(path, "/"), "/")
	var gv schema.GroupVersion
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		gv, parts = schema.GroupVersion{Version: parts[1]}, parts[2:]
	case len(parts) >= 4 && parts[0] == "apis":
		gv, parts = schema.GroupVersion{Group: parts[1], Version: parts[2]}, parts[3:]
	default:
		return at, "", unknown
	}
	if len(parts) >= 3 && parts[0] == "namespaces" && find(gv, parts[2]) != nil {
		at.namespace, parts = parts[1], parts[2:]
	}
	if at.resource = find(gv, parts[0]); at.resource == nil {
		return at, "", unknown
	}
	if len(parts) > 1 {
		at.name = parts[1]
	}
	if at.name != "" && at.resource.namespaced != (at.namespace != "") {
		return at, "", unknown
	}
	return at, strings.Join(parts[min(2, len(parts)):], "/"), nil
}

// wantsMetadata says whether metadata alone is what the caller accepts first.
func wantsMetadata(r *http.Request) bool {
	first, _, _ := strings.Cut(r.Header.Get("Accept"), ",")
	return strings.Contains(first, "as=PartialObjectMetadata")
}

// shape is an object as it is answered.
func shape(o *unstructured.Unstructured, metadata bool) map[string]any {
	if !metadata {
		return o.Object
	}
	return map[string]any{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": o.Object["metadata"]}
}

func object(r *http.Request, code int, o *unstructured.Unstructured, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return bytesOf(code, mustJSON(shape(o, wantsMetadata(r)))), nil
}

func selectionOf(at id, query url.Values) (selection, error) {
	which := selection{resource: at.resource, namespace: at.namespace, labels: labels.Everything()}
	if query.Get("fieldSelector") != "" {
		return which, apierrors.NewBadRequest("the fake has no field selectors")
	}
	if text := query.Get("labelSelector"); text != "" {
		parsed, err := labels.Parse(text)
		if err != nil {
			return which, apierrors.NewBadRequest(err.Error())
		}
		which.labels = parsed
	}
	return which, nil
}

func (s *Server) list(r *http.Request, at id, query url.Values) (answer, error) {
	which, err := selectionOf(at, query)
	if err != nil {
		return answer{}, err
	}
	found, version := s.store.list(which)
	metadata := wantsMetadata(r)
	list := map[string]any{
		"kind": at.resource.Kind + "List", "apiVersion": at.resource.GroupVersion().String(),
		"metadata": map[string]any{"resourceVersion": strconv.FormatUint(version, 10)},
	}
	if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
		metadata = true
		list["kind"], list["apiVersion"] = "PartialObjectMetadataList", "meta.k8s.io/v1"
	}
	items := make([]any, 0, len(found))
	for _, o := range found {
		items = append(items, shape(o, metadata))
	}
	list["items"] = items
	return bytesOf(http.StatusOK, mustJSON(list)), nil
}

func (s *Server) watch(r *http.Request, at id, query url.Values) (answer, error) {
	which, err := selectionOf(at, query)
	if err != nil {
		return answer{}, err
	}
	begin := from{version: query.Get("resourceVersion"), initial: query.Get("sendInitialEvents") == "true", timeout: 30 * time.Minute}
	if seconds, err := strconv.Atoi(query.Get("timeoutSeconds")); err == nil && seconds > 0 {
		begin.timeout = time.Duration(seconds) * time.Second
	}
	stream, err := s.store.watch(r.Context(), which, wantsMetadata(r), begin)
	if err != nil {
		return answer{}, err
	}
	return answer{code: http.StatusOK, body: stream}, nil
}

func (s *Server) patch(r *http.Request, at id, query url.Values) (answer, error) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return answer{}, err
	}
	c := change{manager: query.Get("fieldManager"), force: query.Get("force") == "true"}
	switch kind := types.PatchType(r.Header.Get("Content-Type")); kind {
	case types.ApplyPatchType:
		c.how = byApply
		if c.manager == "" {
			return answer{}, apierrors.NewBadRequest("fieldManager is required for apply patch")
		}
	case types.MergePatchType:
		c.how = byMerge
	default:
		return answer{}, apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "patch", at.group(), at.name, "the fake knows apply and merge patches, not "+string(kind), 0, true)
	}
	if raw, err = yaml.YAMLToJSON(raw); err == nil {
		err = utiljson.Unmarshal(raw, &c.body)
	}
	if err != nil {
		return answer{}, apierrors.NewBadRequest(err.Error())
	}
	o, created, err := s.store.change(at, c)
	code := http.StatusOK
	if created {
		code = http.StatusCreated
	}
	return object(r, code, o, err)
}

// write creates an object, or replaces one.
func (s *Server) write(r *http.Request, at id, query url.Values) (answer, error) {
	c := change{manager: query.Get("fieldManager"), how: byReplace}
	raw, err := io.ReadAll(r.Body)
	if err == nil {
		c.body, err = read(r.Header.Get("Content-Type"), raw)
	}
	if err != nil {
		return answer{}, apierrors.NewBadRequest(err.Error())
	}
	code := http.StatusOK
	if r.Method == http.MethodPost {
		o := unstructured.Unstructured{Object: c.body}
		if at.name = o.GetName(); at.name == "" {
			return answer{}, apierrors.NewBadRequest("the object has no name, and the fake makes none up")
		}
		c.how, code = byCreate, http.StatusCreated
	}
	o, _, err := s.store.change(at, c)
	return object(r, code, o, err)
}

// read reads an object, in JSON or in protobuf, as clients of built-in kinds write it.
func read(kind string, raw []byte) (body map[string]any, err error) {
	if kind != runtime.ContentTypeProtobuf {
		return body, utiljson.Unmarshal(raw, &body)
	}
	o, gvk, err := scheme.Codecs.UniversalDeserializer().Decode(raw, nil, nil)
	if err != nil {
		return nil, err
	}
	if body, err = runtime.DefaultUnstructuredConverter.ToUnstructured(o); err == nil {
		body["apiVersion"], body["kind"] = gvk.GroupVersion().String(), gvk.Kind
	}
	return body, err
}

func (s *Server) delete(r *http.Request, at id) (answer, error) {
	var options metav1.DeleteOptions
	if r.Body != nil {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return answer{}, err
		}
		if len(raw) > 0 {
			if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(raw, nil, &options); err != nil {
				return answer{}, apierrors.NewBadRequest(err.Error())
			}
		}
	}
	var uid types.UID
	if p := options.Preconditions; p != nil && p.UID != nil {
		uid = *p.UID
	}
	if err := s.store.delete(at, uid); err != nil {
		return answer{}, err
	}
	return bytesOf(http.StatusOK, mustJSON(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess})), nil
}
