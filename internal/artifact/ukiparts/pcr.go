package ukiparts

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg/uki"
)

// ParseBanks returns the banks with the names in a list that commas separate, in the
// order of uki.Banks; all of them for "".
func ParseBanks(text string) ([]uki.Bank, error) {
	if text == "" {
		return uki.Banks, nil
	}
	names := strings.Split(text, ",")
	var banks []uki.Bank
	for _, b := range uki.Banks {
		if slices.Contains(names, b.Name) {
			banks = append(banks, b)
		}
	}
	if len(banks) != len(names) {
		return nil, fmt.Errorf("want some of sha1,sha256,sha384,sha512, found %q", text)
	}
	return banks, nil
}

// PublicKey returns the public half of a key as PEM, as .pcrpkey has it.
func PublicKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// ErrOtherKey is the cause when a public key isn't the private one's: the TPM would
// never give anything out.
var ErrOtherKey = errors.New("it is not the public half of the private key")

// CheckPublicKey refuses a file with anything but the public half of an RSA key.
func CheckPublicKey(text []byte, key crypto.Signer) error {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return errors.New(`want one block "BEGIN PUBLIC KEY", as openssl pkey -pubout writes it`)
	}
	found, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	if want, ok := key.Public().(*rsa.PublicKey); !ok || !want.Equal(found) {
		return ErrOtherKey
	}
	return nil
}
