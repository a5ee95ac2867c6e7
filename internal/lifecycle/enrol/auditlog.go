package enrol

import (
	"fmt"
	"path/filepath"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
)

// AuditLog names the files in which the API servers of a cluster write down who did what, as they are called on the node: one path, or a
// pattern as filepath.Match has it. Empty names none.
type AuditLog string

// Unread is what somebody says who wants the agent to read none, though one may be known of.
const Unread AuditLog = "none"

// auditLabel of the agent's Deployment keeps that. (An annotation would be another generation of it.)
const auditLabel = "umbel.dev/audit-log"

const (
	// auditMount is where a pod of the agent has the folder of the audit log, auditVolume the volume's name.
	auditMount, auditVolume = "/var/log/kube-audit", "audit"
	// auditFlag is the agent's.
	auditFlag = "--audit-log="
)

// Check says what is wrong with it.
func (l AuditLog) Check() error {
	path := string(l)
	if !l.read() {
		return nil
	}
	if _, err := filepath.Match(path, ""); err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return fmt.Errorf("%q is not an absolute path, such as /var/log/kubernetes/audit/audit.log", path)
	}
	if dir := l.dir(); dir == "/" || strings.Count(dir, "/") < 2 {
		return fmt.Errorf("%q: the agent would see all of %s: have the API server write into a folder that holds nothing else, such as /var/log/kubernetes/audit", path, dir)
	}
	return nil
}

// Arg is the argument by which an agent that runs as a process is told; empty for none.
func (l AuditLog) Arg() string {
	if !l.read() {
		return ""
	}
	return auditFlag + string(l)
}

// read says whether it names any.
func (l AuditLog) read() bool { return l != "" && l != Unread }

// dir is the folder that all of the files are in.
func (l AuditLog) dir() string {
	if !l.read() {
		return ""
	}
	dir := filepath.Dir(string(l))
	for strings.ContainsAny(dir, `*?[\`) {
		dir = filepath.Dir(dir)
	}
	return dir
}

// arg is the argument by which the agent is told in its pod.
func (l AuditLog) arg() string {
	return auditFlag + auditMount + strings.TrimPrefix(string(l), l.dir())
}

// AuditLogOf returns which audit log the agent of a Deployment reads; empty where nobody has said anything.
func AuditLogOf(deployment *appsv1.Deployment) AuditLog {
	if deployment.Labels[auditLabel] == string(Unread) {
		return Unread
	}
	spec := deployment.Spec.Template.Spec
	for _, volume := range spec.Volumes {
		if volume.Name != auditVolume || volume.HostPath == nil {
			continue
		}
		for _, c := range spec.Containers {
			for _, arg := range c.Args {
				if below, ok := strings.CutPrefix(arg, auditFlag+auditMount); ok {
					return AuditLog(volume.HostPath.Path + below)
				}
			}
		}
	}
	return ""
}
