// Package audit answers: who did what, on which cluster, through the hub, and what did the hub do by itself?
//
// Every answer is an Event of audit.k8s.io/v1, as Kubernetes' own API server writes them, one per line of JSON. The level
// is always Metadata: who, what, when and how it ended; never a body.
//
//  1. People: Serve wraps whatever the gateway serves to people (request.go). It gives the request an audit ID, which goes on
//     to the member in the header Audit-ID, so that the member's audit log has the same one; it writes RequestReceived before
//     a request goes on that changes something or lasts, ResponseStarted when one that lasts is answered, and
//     ResponseComplete at the end. Refusals are events too.
//  2. The hub: Transport sees each change that the hub asks of its own API (own.go), and the gateway tells what it does to
//     members (Did): a certificate, a refusal, a package told.
//  3. Log writes events to a folder, rotated and bounded (log.go), and reads them back, filtered (read.go).
//     What is done to the hub's own API past the gateway is in the log of its API server (APILog), which is read along.
//  4. Endpoint serves what a Source has to who may read it (endpoint.go). A Log is a Source.
//
// Laws, with their reasons:
//
//   - What is recorded is written before its request goes on, or before its answer ends: kill -9 loses nothing but, at most,
//     the line that was being written. That line is closed when the next Log opens the file, and readers pass over it.
//   - A disk that is full or hangs does not stop the hub: events wait in memory, up to a bound; beyond it they are counted,
//     and the count is an event of its own as soon as there is room. Nothing is lost in silence.
//   - No secret gets in: no body, no header but the user agent; in the request's URI, values of parameters that are
//     credentials, and of every parameter that goes on to an application (the subresource proxy), are replaced.
//   - An audit ID is the hub's to give. One that a client sends is dropped: whoever knows the ID of somebody else's request
//     cannot have their own pass for it.
//   - Strangers cannot fill the log: events without a user are bounded to one a second, twenty at once; the next one says
//     how many were left out.
package audit
