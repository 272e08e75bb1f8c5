package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

func TestMain(m *testing.M) {
	testscript.Main(privately{m}, map[string]func(){
		"composefs-setup-root": func() { os.Exit(int(run(os.Args[1:], os.Stdout, os.Stderr))) },
	})
}

// privately runs tests in a mount namespace of their own: some boot.
type privately struct{ m *testing.M }

func (p privately) Run() int { return testutil.RunInPrivateMounts(p.m) }

func TestScripts(t *testing.T) { testscript.Run(t, testscript.Params{Dir: "testdata/script"}) }
