package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/artifact/disk"
	"github.com/composefs-go/composefs/internal/check/doctor"
	"github.com/composefs-go/composefs/internal/check/treediff"
	"github.com/composefs-go/composefs/internal/imagemount"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// docs/json.md names every key that a result may have.
func TestTheKeysOfResultsAreDocumented(t *testing.T) {
	text := string(testutil.ReadFile(t, "../../docs/json.md"))
	seen := map[reflect.Type]bool{}
	var check func(t reflect.Type) []string
	check = func(of reflect.Type) (missing []string) {
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			return check(of.Elem())
		case reflect.Struct:
		default:
			return nil
		}
		if seen[of] {
			return nil
		}
		seen[of] = true
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if name == "-" || name == "" && !of.Field(i).Anonymous {
				continue
			}
			if name != "" && !strings.Contains(text, "`"+name+"`") {
				missing = append(missing, name)
			}
			missing = append(missing, check(of.Field(i).Type)...)
		}
		return missing
	}
	for _, report := range []any{
		buildReport{}, diffReport{}, diskReport{}, disk.Partition{}, doctor.Report{}, initrdReport{}, keyPair{}, keyFile{}, imageListing{},
		measurement{}, imagemount.Report{}, ociReport{}, ociTag{}, pullReport{}, gcReport{}, fetchReport{}, fsckReport{}, repoReport{}, sealReport{}, writtenStatement{}, verdictReport{}, ukiReport{}, ukiContents{},
		treediff.Difference{}, failure{}, register{},
	} {
		if missing := check(reflect.TypeOf(report)); len(missing) > 0 {
			t.Errorf("docs/json.md lacks the keys %q of %T", missing, report)
		}
	}
}
