// Package fields answers: which fields of an object does somebody own, by an entry of its managedFields, and how is an
// object applied without some of its fields?
//
// It knows no schema. An entry (FieldsV1) is walked side by side with the object as the source has it: "f:NAME" is a field,
// "k:{…}" the item of a list with these keys, "v:…" an item of a set; what has no children is owned as one. So a pointer
// into the source finds its place in the entry, also where items of a list come in another order on the server.
//
// It is a leaf: no client, no clock, no file.
package fields
