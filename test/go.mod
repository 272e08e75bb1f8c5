module github.com/composefs-go/composefs/test

go 1.26.0

require github.com/composefs-go/composefs v0.0.0

replace github.com/composefs-go/composefs => ../
