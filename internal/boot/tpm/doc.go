// Package tpm extends a register (PCR) of a TPM 2.0 with a measurement, and records
// it in the log that systemd keeps of such measurements.
//
//	command   tag size code | pcr | authorization: empty password | event
//	                                                                  │ H of each bank
//	response  tag size code | digests, one of each bank of registers ◀┘ | authorization
//
// Only one command is needed: TPM2_PCR_Event has the TPM hash the event for every
// bank that is active, so that no bank can be left out. Source: TCG, Trusted
// Platform Module Library Part 3: Commands, 22.3, and Part 2: Structures.
package tpm
