// Package status is `umbel status`: one screen that says what is wrong in the fleet now, the worst first.
//
// It reads what the hub knows (read.go); what of that is wrong, and how bad, decides package health, as for everybody else who asks. What
// whoever asks may not read is named, so that nobody takes silence about it for good news.
package status
