// Package version holds the number that both programs say they are.
package version

// Number is that of the next release, see CHANGELOG.md.
const Number = "0.1.0"
