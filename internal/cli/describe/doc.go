// Package describe answers: what is there to know of one object, and what to do next? It is the verb `umbel describe`.
//
//  1. Read the object and what it refers to: for a package its placement and what every cluster says of it.
//     A cluster that is connected is asked for its nodes as well, as whoever looks.
//  2. Put it together as a value (a "dossier"), which -o json and -o yaml write as it is.
//  3. Otherwise write it as a page: sections, tables, failures with file, object and message, events, and last the
//     steps that its conditions suggest (next.go).
//
// Reading is apart from writing, so that pages are tested with values and a fixed clock.
package describe
