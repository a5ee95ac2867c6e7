package gateway

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// Who asks for much and reads nothing holds so many answers and no more. What is read is whole, and then there is room again.
func TestAnswersThatNobodyReads(t *testing.T) {
	const room = 3
	t.Run("of a member", func(t *testing.T) {
		h := newHub(t)
		h.gateway.unread.perPerson = room
		nobodyReads(t, h, "prod-eu", "/clusters/prod-eu")
	})
	t.Run("of the hub, which has no bound of a member", func(t *testing.T) {
		h := newHub(t)
		h.gateway.unread.perPerson, h.gateway.unread.perMember = room, 1
		nobodyReads(t, h, "", hubPath)
	})
}

func nobodyReads(t *testing.T, h *hub, cluster v1alpha1.ClusterName, at string) {
	const asked = 8
	room := h.gateway.unread.perPerson
	h.gateway.unread.after = 50 * time.Millisecond
	namespace := kubetest.Namespace(t, h.api)
	h.joined("prod-eu")
	alice, bob := h.person(namespace, "alice", "prod-eu"), h.person(namespace, "bob", "prod-eu")
	name := "system:serviceaccount:" + namespace + ":alice"
	if cluster == "" {
		h.letIn(namespace, name)
	} else {
		h.letIn(namespace, "hub:"+name)
	}
	const size, count = 900 << 10, 16 // more than the kernel takes in between
	for i := range count {
		h.create(&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprint("large-", i)}, Data: map[string]string{"a": strings.Repeat("x", size)},
		})
	}
	path := at + "/api/v1/namespaces/" + namespace + "/configmaps"
	var readers []*bufio.Reader
	for range asked {
		raw, err := net.Dial("tcp", h.address)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		conn := tls.Client(raw, &tls.Config{RootCAs: h.authority.Roots(), ServerName: "127.0.0.1", NextProtos: []string{"http/1.1"}})
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer %s\r\n\r\n", path, alice.BearerToken)
		readers = append(readers, bufio.NewReader(conn))
	}
	h.eventually("as many wait as may", func() (bool, string) {
		why := h.gateway.unread.full(name, cluster)
		return why != "", why
	})
	h.eventually("who asks for more is refused", func() (bool, string) {
		code, text := h.knock(alice, http.MethodGet, path)
		return code == http.StatusTooManyRequests && strings.Contains(text, fmt.Sprintf("%d answers wait for you to read them", room)) &&
			strings.Contains(text, "TooManyRequests"), fmt.Sprint(code, ": ", text[:min(len(text), 300)])
	})
	if code, _ := h.knock(bob, http.MethodGet, path); code != http.StatusForbidden { // which is not the gateway's word
		t.Errorf("somebody else is answered %d", code)
	}
	whole, cut, refused := 0, 0, 0
	for _, reader := range readers {
		answer, err := http.ReadResponse(reader, nil)
		if err != nil {
			cut++
			continue
		}
		n, err := io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		switch {
		case answer.StatusCode == http.StatusTooManyRequests:
			refused++
		case err == nil && n > size*count:
			whole++
		case errors.Is(err, io.ErrUnexpectedEOF) || err != nil:
			cut++
		default:
			t.Errorf("an answer of %d bytes passes for all of it", n)
		}
	}
	if whole < room || whole+cut+refused != asked {
		t.Errorf("%d answers came whole, %d were cut off, %d were refused", whole, cut, refused)
	}
	h.eventually("there is room again", func() (bool, string) {
		code, text := h.knock(alice, http.MethodGet, path+"/large-0")
		return code == http.StatusOK, text[:min(len(text), 300)]
	})
}

// However many people leave their answers of a member unread, the next one may have one too.
func TestNobodyIsShutOutByUnreadAnswers(t *testing.T) {
	u := newUnread()
	for i := range 20 {
		person := fmt.Sprint("person-", i)
		had := 0
		for u.enter(person, "prod-eu") {
			had++
		}
		if had == 0 || had > maxUnreadPerson || i == 0 && had != maxUnreadPerson {
			t.Errorf("%s has %d answers", person, had)
		}
		if why := u.full(person, "prod-eu"); why == "" {
			t.Errorf("%s has all that they may, and is not told", person)
		}
	}
	if why := u.full("somebody else", "prod-eu"); why != "" {
		t.Errorf("somebody else is told: %s", why)
	}
}
