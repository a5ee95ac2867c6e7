// Package console answers: what does somebody see of the fleet in a browser, and what may that browser do?
//
// It serves the web console, built from console/, below /console/ of the gateway:
//
//	GET  /console/…                   the page; it finds its own way from there
//	GET  /console/assets/…            its scripts and styles, embedded
//	GET  /console/login, /callback    sign-in at an identity provider, and the way back
//	POST /console/api/signin          sign-in with a token
//	POST /console/api/signout         the end of this session, or of all of this person
//	GET  /console/api/…               lists, a page at a time, and what is said of one object
//	     /console/api/manifests/…     one object of the hub, to be written as YAML, and what would become of that
//	GET  /console/api/stream          which objects have changed, as they do
//	     /console/k8s/…               the hub's own API, as the person
//	     /console/clusters/NAME/…     the API of a member, as the person
//	GET  /console/api/metrics/…, audit what agents measured, and who did what
//
// A request, in order:
//
//  1. It is of the console's own page: a change carries a header that no form can send, and comes from this origin.
//  2. Its cookie is a session that this hub sealed, that has not ended, and that nobody has ended.
//  3. What is single goes through the gateway's door as that person, like a request of kubectl: authorised there, in the
//     audit log, bounded; so goes what the rooms of the command line read for it, such as a plan (desk.go). What is listed is
//     read from the hub's cache, once the hub's API has said that the person may list it.
//
// Laws, with their reasons:
//
//   - The console knows nothing and decides nothing of its own: what an object means is said by package view, which the command
//     line asks as well; what is changed is changed in the API.
//   - The cookie alone says who somebody is here, and nowhere else: a browser sends it with whatever a page asks for, so it is not
//     taken at other paths; and a certificate or a token is not taken here, lest a page act with what it does not know of.
//   - No token is kept. A session says who somebody is until it ends, and that it was sealed here; what they may is asked
//     each time.
//   - Members decide what they answer, and must not speak to a browser as the hub: it is text or JSON, or it is text. Nothing
//     that a pod serves comes through here.
//   - No endpoint returns everything.
//
// Left to others: who somebody is (package gateway), what they may (the API), what is wrong and what helps (package view).
package console
