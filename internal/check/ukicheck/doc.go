// Package ukicheck reads a UKI or an addon the way the machine does that boots it, and
// reports the result: which image each profile names, which keys and which policy are
// in its initrd, and whether anything would let an unverified root start.
//
// Package doctor asks whether a machine will boot; this package asks what a signature
// would vouch for. For the signature itself see sign/secureboot.
package ukicheck
