package fields

// Borrow gives a field of the object the value that it has in live, which is the same object as it is on a server; a field that it has not
// there is taken out, and Without closes the gaps that this leaves in lists. The entry says by which keys items of lists are known.
func (e Entry) Borrow(object, live map[string]any, p Pointer) { borrow(e, object, live, p) }

func borrow(node Entry, value, live any, p Pointer) {
	switch at := value.(type) {
	case map[string]any:
		there, _ := live.(map[string]any)
		below, has := there[p[0]]
		switch {
		case len(p) > 1:
			child, _ := node["f:"+p[0]].(map[string]any)
			borrow(child, at[p[0]], below, p[1:])
		case has:
			at[p[0]] = below
		default:
			delete(at, p[0])
		}
	case []any:
		i, in := index(at, p[0])
		if !in {
			return
		}
		key, known := keyOf(node, at[i], i)
		var item any
		has := false
		if known {
			item, has = find(live, key)
		}
		switch {
		case len(p) > 1:
			child, _ := node[key].(map[string]any)
			borrow(child, at[i], item, p[1:])
		case has:
			at[i] = item
		default:
			at[i] = gone{}
		}
	}
}

// find returns the item of a list that an entry knows by a key.
func find(list any, key string) (item any, has bool) {
	items, _ := list.([]any)
	for i, item := range items {
		if _, is := keyOf(Entry{key: nil}, item, i); is {
			return item, true
		}
	}
	return nil, false
}
