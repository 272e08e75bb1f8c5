// Package version holds the version number of both programs.
package version

// Number is the number of the next release, see CHANGELOG.md.
const Number = "0.1.0"
