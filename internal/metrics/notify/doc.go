// Package notify answers: who is told of an alert?
//
// Alertmanagers are told by Prometheus' own notifier, in their API: they group, silence and route. Webhooks are told without one, in the
// form that an Alertmanager has for webhooks (version 4): once when an alert fires, every four hours while it does, and once when it is over.
//
// What is not delivered is tried again for as long as the alert stands, and is in memory alone: a hub that is started anew tells again of
// what fires then. So who is told may be told twice, and never not at all.
package notify
