package main

import (
	"errors"
	"fmt"

	"github.com/composefs-go/composefs/bootcfg"
)

// policyAdvice says what to do about a policy that can't be kept.
var policyAdvice = map[bootcfg.PolicyReason]string{
	bootcfg.RequiresKey:        "add the .pub file of the signing key",
	bootcfg.OptionalWithoutKey: `add the .pub file of a key, or say signature = "off"`,
	bootcfg.SealsWithoutKey:    `add the key, or say signature = "off" for a boot that checks no seal`,
	bootcfg.SealsUnchecked:     "leave out the one or the other",
	bootcfg.InsecureImage:      `remove the "?", or set allow-insecure = true under [verify]`,
}

// advisePolicy adds the advice to an error about a policy.
func advisePolicy(err error) error {
	var policy *bootcfg.PolicyError
	if errors.As(err, &policy) {
		return fmt.Errorf("%w: %s", err, policyAdvice[policy.Reason])
	}
	return err
}
