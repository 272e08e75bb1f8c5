// Package ukicheck reads a UKI or an addon as the machine will that boots it, and says
// what comes of it: which image each profile names, which keys and which policy are in
// its initrd, and whether anything lets a root start that nobody verified.
//
// doctor asks whether a machine will boot; this asks what a signature would vouch for.
// Nothing here is about the signature itself: see sign/secureboot.
package ukicheck
