package secureboot_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log"
	"math/big"
	"time"

	"github.com/composefs-go/composefs/sign/secureboot"
)

// A signature is for one program, by a key whose certificate is trusted.
func Example() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	self := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "db"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, self, self, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	trusted, err := secureboot.ParseCertificates(der)
	if err != nil {
		log.Fatal(err)
	}
	digest := sha256.Sum256([]byte("a program")) // of a real one: uki.Digest
	signature, err := secureboot.Sign(digest, key, trusted)
	if err != nil {
		log.Fatal(err)
	}
	signer, _, err := secureboot.Verify(digest, [][]byte{signature}, trusted)
	fmt.Println(signer.Subject, err)
	_, _, err = secureboot.Verify(sha256.Sum256([]byte("another program")), [][]byte{signature}, trusted)
	fmt.Println(err != nil)
	// Output:
	// CN=db <nil>
	// true
}
