package vm

import (
	"regexp"
	"strings"
	"time"
)

// Console is the output of a guest.
type Console struct {
	Text string
	Took time.Duration // from power on to the end
	Log  string        // the file that holds Text
}

// Has reports whether a line contains text.
func (c Console) Has(text string) bool { return strings.Contains(c.Text, text) }

// guestLine is a line of the guest's init: GUEST key=value. The kernel may have put a
// message before it on the same line.
var guestLine = regexp.MustCompile(`(?m)GUEST ([^=\n]+)=(.*?)\r?$`)

// Guest returns the facts that the guest's init printed.
func (c Console) Guest() map[string]string {
	facts := map[string]string{}
	for _, m := range guestLine.FindAllStringSubmatch(c.Text, -1) {
		facts[m[1]] = m[2]
	}
	return facts
}

// composefsLine is a line of composefs-setup-root, with the kernel's time before it.
var composefsLine = regexp.MustCompile(`(?m)composefs(?:-setup-root)?(?:\[\d+\])?: (.*?)\r?$`)

// Composefs returns the messages of composefs-setup-root.
func (c Console) Composefs() []string {
	var lines []string
	for _, m := range composefsLine.FindAllStringSubmatch(c.Text, -1) {
		lines = append(lines, m[1])
	}
	return lines
}

// Tail returns the last n lines, for a message about a failure.
func (c Console) Tail(n int) string {
	lines := strings.Split(strings.TrimRight(c.Text, "\r\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
