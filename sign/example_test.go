package sign_test

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// Make a key, and sign a seal with it.
func ExampleSign() {
	key, err := sign.NewKey()
	if err != nil {
		fmt.Println(err)
		return
	}
	image := verity.Sum(verity.SHA256, []byte("the image"))
	seal, err := sign.NewSeal(sign.Statement{Digest: image, Format: "erofs-v1", Sequence: 42})
	if err != nil {
		fmt.Println(err)
		return
	}
	signature, err := sign.Sign(seal, key)
	fmt.Println(signature.KeyID == key.ID(), err)
	fmt.Printf("%s", seal.Text())
	// Output:
	// true <nil>
	// composefs-seal 1
	// digest fsverity-sha256-12:6ac9f11bb08f54769b2096677e9176f507b2425cc94c58e1a71bde6a46904184
	// format erofs-v1
	// sequence 42
}

// Hold the seal of an image against a policy, which wants a newer one.
func ExamplePolicy_Check() {
	key, _ := sign.NewKey()
	image := verity.Sum(verity.SHA256, []byte("the image"))
	seal, _ := sign.NewSeal(sign.Statement{Digest: image, Sequence: 42})
	signature, _ := sign.Sign(seal, key)
	files := map[sign.File][]byte{sign.TextFile(image): seal.Text(), sign.SignatureFile(image): signature.Text()}
	read := func(f sign.File) ([]byte, error) {
		if text, ok := files[f]; ok {
			return text, nil
		}
		return nil, fs.ErrNotExist
	}

	policy := sign.Policy{Keys: sign.Keyring{key.Public("release")}}
	verdict, err := policy.Check(image, read)
	fmt.Println(verdict.Status, verdict.Key.Name, verdict.Statement.Sequence, err)
	policy.MinimumSequence = 43
	_, err = policy.Check(image, read)
	fmt.Println(errors.Is(err, sign.ErrTooOld))
	// Output:
	// valid release 42 <nil>
	// true
}
