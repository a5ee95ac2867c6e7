package output

// Tone is what a text means to the one who reads it.
type Tone int

// The tones. Neutral text is never painted.
const (
	Neutral Tone = iota
	Good
	Bad
	Doubtful
	Faint
)

// Palette says how tones look.
type Palette int

// Plain paints nothing; Coloured uses the sixteen colours that every terminal has.
const (
	Plain Palette = iota
	Coloured
)

var codes = map[Tone]string{Good: "32", Bad: "31", Doubtful: "33", Faint: "2"}

// Paint returns text in the colour of its tone.
func (p Palette) Paint(tone Tone, text string) string {
	code, ok := codes[tone]
	if p == Plain || !ok || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
