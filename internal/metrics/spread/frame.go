package spread

import (
	"encoding/binary"
	"errors"
	"fmt"

	"umbel.dev/umbel/api/v1alpha1"
)

// A frame is the name of a cluster and what it sent, each behind its length as encoding/binary's Uvarint.

// appendFrame adds one to others.
func appendFrame(to []byte, cluster v1alpha1.ClusterName, body []byte) []byte {
	to = binary.AppendUvarint(to, uint64(len(cluster)))
	to = append(to, cluster...)
	to = binary.AppendUvarint(to, uint64(len(body)))
	return append(to, body...)
}

var errFrame = errors.New("it is no whole number of frames")

// Read calls each with what is in a request of another replica, until that returns an error. What it is given is part of raw.
func Read(raw []byte, each func(cluster v1alpha1.ClusterName, body []byte) error) error {
	for len(raw) > 0 {
		name, rest, err := cut(raw)
		if err != nil {
			return err
		}
		cluster := v1alpha1.ClusterName(name)
		if !v1alpha1.ValidClusterName(cluster) {
			return fmt.Errorf("%.64q is no name of a cluster", name)
		}
		body, rest, err := cut(rest)
		if err != nil {
			return err
		}
		if err := each(cluster, body); err != nil {
			return err
		}
		raw = rest
	}
	return nil
}

// cut cuts off what is behind its length.
func cut(raw []byte) (part, rest []byte, err error) {
	size, n := binary.Uvarint(raw)
	if n <= 0 || size > uint64(len(raw)-n) {
		return nil, nil, errFrame
	}
	raw = raw[n:]
	return raw[:size], raw[size:], nil
}
