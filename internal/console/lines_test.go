package console

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const written = `apiVersion: v1
metadata:
  labels: {app: a}
  annotations:
    example.com/a.b: x
spec:
  stages:
  - name: dev
  - name: prod
    clusterSelector:
      matchLabels: {}
`

// TestLineOf: a field is found by the names that API servers have for it; one that is not there by what is around it.
func TestLineOf(t *testing.T) {
	page := sheetOf(written)
	for field, want := range map[string]int{
		"spec.stages[1].clusterSelector": 10, "spec.stages[0].name": 8, "spec.stages[7].name": 7, "metadata.annotations[example.com/a.b]": 5, "metadata.labels": 3, "spec": 6,
		"spec.stages[1].clusterSelector.matchLabels[a]": 11, "spec.bananas.x": 6, "bananas": 0, "": 0, ".": 0, "..": 0, "[": 0, "spec..x": 6, "spec[": 6, "a[b]c": 0, `metadata.annotations["example.com/a.b"]`: 5,
	} {
		if got := lineOf(page.root, field); got != want {
			t.Errorf("%q is at line %d, want %d", field, got, want)
		}
	}
}

// FuzzLineOf: whatever somebody writes and an API server says of it, there is an answer.
func FuzzLineOf(f *testing.F) {
	f.Add(written, "spec.stages[1].name")
	f.Add("a: &a [*a]\n", "a[0][0]")
	f.Add("[", "a")
	f.Fuzz(func(t *testing.T, text, field string) {
		page := sheetOf(text)
		if len(page.problems) == 0 && page.root == nil {
			t.Errorf("%q is neither an object nor a problem", text)
		}
		if line := lineOf(page.root, field); line < 0 || line > len(text)+1 {
			t.Errorf("%q is at line %d", field, line)
		}
	})
}

// TestProblemsOf: answers of API servers that are about what was written, and those that are not.
func TestProblemsOf(t *testing.T) {
	status := func(code int32, message string, causes ...metav1.StatusCause) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Message: message, Details: &metav1.StatusDetails{Causes: causes}}}
	}
	for reason, c := range map[string]struct {
		err  error
		want []Problem
	}{
		"nothing":        {nil, []Problem{}},
		"another error":  {errors.New("no"), []Problem{}},
		"who may not":    {status(http.StatusForbidden, "no"), []Problem{}},
		"a conflict":     {status(http.StatusConflict, "no"), []Problem{}},
		"an old request": {status(http.StatusBadRequest, "it cannot be read"), []Problem{{0, "", "it cannot be read"}}},
		"fields":         {status(http.StatusUnprocessableEntity, "two", metav1.StatusCause{Field: "spec.stages[1].name", Message: "taken"}, metav1.StatusCause{Message: "all of it"}), []Problem{{9, "spec.stages[1].name", "taken"}, {0, "", "all of it"}}},
		"unknown fields, in a patch": {
			status(http.StatusUnprocessableEntity, `"" is invalid: patch: Invalid value: "{\"spec\":{\"x\":1}}": strict decoding error: unknown field "spec.x", unknown field "metadata.labels.y"`, metav1.StatusCause{Field: "patch", Message: "all again"}),
			[]Problem{{6, "spec.x", "there is no such field"}, {3, "metadata.labels.y", "there is no such field"}},
		},
	} {
		if diff := cmp.Diff(c.want, sheetOf(written).problemsOf(c.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
}
