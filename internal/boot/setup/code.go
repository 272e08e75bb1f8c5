package setup

import "errors"

// A Code is the exit status of composefs-setup-root. The numbers are stable.
type Code int

// The codes; docs/exit-codes.md has them too.
const (
	CodeOK         Code = 0
	CodeConfig     Code = 2 // also usage
	CodeNoArgument Code = 3
	CodeNotFound   Code = 4
	CodeMismatch   Code = 5
	CodeSignature  Code = 6
	CodeKernel     Code = 7
	CodeMount      Code = 8
	CodeSelfTest   Code = 9
)

// String names the class of the failure.
func (c Code) String() string {
	switch c {
	case CodeOK:
		return "ok"
	case CodeConfig:
		return "configuration"
	case CodeNoArgument:
		return "no composefs argument"
	case CodeNotFound:
		return "image not found"
	case CodeMismatch:
		return "digest mismatch"
	case CodeSignature:
		return "signature refused"
	case CodeKernel:
		return "kernel lacks a feature"
	case CodeMount:
		return "mount failed"
	case CodeSelfTest:
		return "self-test failed"
	}
	return "unknown"
}

// A Refusal is an error that ends the boot, with the status to exit with.
type Refusal struct {
	Code Code
	Err  error
}

func (r *Refusal) Error() string { return r.Err.Error() }
func (r *Refusal) Unwrap() error { return r.Err }

// refuse gives err the code, unless it has one already.
func refuse(code Code, err error) error {
	var r *Refusal
	if err == nil || errors.As(err, &r) {
		return err
	}
	return &Refusal{code, err}
}

// CodeOf returns the status for an error: CodeOK for nil, CodeMount for one
// that carries no code.
func CodeOf(err error) Code {
	var r *Refusal
	switch {
	case err == nil:
		return CodeOK
	case errors.As(err, &r):
		return r.Code
	}
	return CodeMount
}
