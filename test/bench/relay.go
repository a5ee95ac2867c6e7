package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/cert"
)

// relayWord as the first argument makes this program a relay: what comes over TLS goes on over TLS, and nothing is looked at.
const relayWord = "relay"

// relayed is the way over two relays, each a process: the least that is possible in Go for what goes through a hub and an agent.
func relayed(ctx context.Context, kubeconfig string) (w way, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	last, ended, err := startRelay(ctx, kubeconfig)
	if err != nil {
		cancel()
		return w, nil, err
	}
	first, endedToo, err := startRelay(ctx, last)
	if err != nil {
		cancel()
		return w, nil, errors.Join(err, ended())
	}
	stop = func() {
		cancel()
		_, _ = ended(), endedToo() // they were killed, and say so
	}
	config := &rest.Config{Host: "https://" + first, QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	config.ContentType = "application/json"
	w.name = "over two relays"
	w.client, err = kubernetes.NewForConfig(config)
	return w, stop, err
}

// startRelay starts a relay to another one, or to the API server of a kubeconfig, and returns its address and what waits for its end.
func startRelay(ctx context.Context, to string) (address string, wait func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	relay := exec.CommandContext(ctx, self, relayWord, to)
	relay.Stderr = os.Stderr
	says, err := relay.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := relay.Start(); err != nil {
		return "", nil, fmt.Errorf("starting a relay: %w", err)
	}
	line, err := bufio.NewReader(says).ReadString('\n')
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("a relay to %s says nothing: %w", to, err), relay.Wait())
	}
	return strings.TrimSpace(line), relay.Wait, nil
}

// runRelay is the relay. It runs until it is killed.
func runRelay(to string) error {
	onward := &tls.Config{InsecureSkipVerify: true}
	if config, err := clientcmd.BuildConfigFromFlags("", to); err == nil {
		if onward, err = rest.TLSConfigFor(config); err != nil {
			return err
		}
		to = strings.TrimPrefix(config.Host, "https://")
	}
	certificate, key, err := cert.GenerateSelfSignedCertKey("relay", nil, nil)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go takeOn(conn.(*tls.Conn), to, onward)
	}
}

// takeOn takes one connection on, until either end closes it.
func takeOn(from *tls.Conn, to string, onward *tls.Config) {
	defer from.Close()
	if err := from.Handshake(); err != nil {
		return
	}
	onward = onward.Clone()
	onward.NextProtos = []string{from.ConnectionState().NegotiatedProtocol}
	conn, err := tls.Dial("tcp", to, onward)
	if err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		return
	}
	defer conn.Close()
	go carry(conn, from)
	carry(from, conn)
}

func carry(to, from net.Conn) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 64<<10))
	_, _ = to.Close(), from.Close()
}
