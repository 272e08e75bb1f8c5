package imagemount

// How an option list is taken apart, for the fuzz test.
var (
	SplitUnescaped = splitUnescaped
	Unescape       = unescape
)
