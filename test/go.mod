module github.com/composefs-go/composefs/test

go 1.26.0

require (
	github.com/composefs-go/composefs v0.0.0
	github.com/google/go-tpm v0.9.8
)

require (
	aead.dev/minisign v0.3.0 // indirect
	github.com/BurntSushi/toml v1.6.0 // indirect
	golang.org/x/crypto v0.45.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/composefs-go/composefs => ../
