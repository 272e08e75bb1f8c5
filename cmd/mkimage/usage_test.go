package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every name that mkimage can be called by says without arguments how it is meant,
// and has a manual page.
func TestTheCToolsHaveUsageAndManualPages(t *testing.T) {
	for name := range ctools {
		var out, errs bytes.Buffer
		status := dispatch(t.Context(), []string{name}, newUI(strings.NewReader(""), &out, &errs))
		said := out.String() + errs.String()
		if status != exitFailure || !strings.Contains(said, "usage: "+name+" ") {
			t.Errorf("%s: status %d: %s", name, status, said)
		}
		pages, _ := filepath.Glob("../../man/" + name + ".[18]")
		if len(pages) != 1 {
			t.Errorf("%s: want one manual page, found %q", name, pages)
			continue
		}
		page, err := os.ReadFile(pages[0])
		if err != nil || !bytes.Contains(page, []byte(".SH SYNOPSIS")) {
			t.Errorf("%s: no synopsis: %v", pages[0], err)
		}
	}
}
