package wire

// Where returns where the content of an assignment is, whichever of its fields say so.
func (a *Assignment) Where() *Content {
	if content := a.GetContent(); content != nil {
		return content
	}
	return &Content{Repository: a.GetRepository(), Digest: a.GetDigest(), Size: a.GetSize()}
}
