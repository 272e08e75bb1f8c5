// Package ukiparts decides whether parts may become one UKI: a kernel and not another
// UKI, an initrd for the same processor, a command line that names the image first, and
// for the TPM the two halves of one key. Package bootcfg/uki assembles any parts, even
// if the result can't boot.
package ukiparts
