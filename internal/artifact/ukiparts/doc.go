// Package ukiparts decides whether parts may become one UKI: a kernel and not another
// UKI, an initrd for the same processor, a command line that names the image first, and
// for the TPM the two halves of one key. bootcfg/uki assembles whatever it is given;
// much of that wouldn't boot.
package ukiparts
