package uki_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// requireMeasure returns a directory with a systemd-measure, for ukify to find. That of
// systemd 257 takes --dtbauto for --hwids and the other way round, other than its stub.
func requireMeasure(t *testing.T) (dir string) {
	t.Helper()
	command := testutil.RequireScript(t, "../../scripts/systemd-tool", "systemd-measure")
	dir = t.TempDir()
	script := "#!/bin/bash\nset -- \"${@/#--dtbauto=/--HWIDS=}\"\nset -- \"${@/#--hwids=/--dtbauto=}\"\n" +
		"exec " + command + ` "${@/#--HWIDS=/--hwids=}"` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "systemd-measure"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newPCRKey makes a key, and files of its halves.
func newPCRKey(t *testing.T) (key *rsa.PrivateKey, private, public string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key, put(t, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), put(t, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}))
}

// PCR 11 in every bank after every phase is what systemd-measure calculates.
func TestMeasureAgreesWithSystemd(t *testing.T) {
	command := filepath.Join(requireMeasure(t), "systemd-measure")
	sections := []uki.Section{
		text(".linux", "kernel"), text(".osrel", "ID=x\n"), text(".cmdline", "quiet"), text(".initrd", "initrd"), text(".ucode", "u"),
		text(".splash", "BM"), text(".dtb", "d"), text(".uname", "6.12"), text(".sbat", "sbat,1\n"), text(".pcrpkey", "key"),
		text(".profile", "ID=x"), text(".dtbauto", "a"), text(".hwids", "h"),
	}
	args := []string{"calculate"}
	for _, s := range sections {
		args = append(args, "--"+s.Name[1:]+"="+put(t, s.Data))
	}
	for _, path := range uki.DefaultPhases {
		args = append(args, "--phase="+path)
	}
	out, err := exec.Command(command, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, path := range uki.DefaultPhases {
		for _, b := range uki.Banks {
			register := uki.MeasurePhases(b, uki.MeasureSections(b, sections), path)
			fmt.Fprintf(&want, "11:%s=%s\n", b.Name, hex.EncodeToString(register))
		}
	}
	if string(out) != want.String() {
		t.Errorf("systemd-measure calculates\n%swe\n%s", out, &want)
	}
}

// The signatures of a UKI, of each of its profiles and for each device tree, are byte
// for byte what ukify makes with systemd-measure.
func TestSignPCRAgreesWithUkify(t *testing.T) {
	s := requireSystemd(t)
	tools := requireMeasure(t)
	keyA, privateA, publicA := newPCRKey(t)
	keyB, privateB, publicB := newPCRKey(t)
	profile, err := uki.AssembleProfile(uki.Options{Stub: mustRead(t, s.addon), Profile: []byte("ID=other\n"), Cmdline: "other"})
	if err != nil {
		t.Fatal(err)
	}
	phases := "enter-initrd:leave-initrd, enter-initrd"
	paths, err := uki.ParsePhases(phases)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		keys  []uki.PCRKey
		banks []uki.Bank
		join  bool
		trees []string
		args  []string
	}{
		{"one key", []uki.PCRKey{{Key: keyA}}, nil, false, nil, []string{"--pcr-private-key", privateA, "--pcr-public-key", publicA}},
		{"one bank", []uki.PCRKey{{Key: keyA}}, uki.Banks[1:2], false, nil, []string{"--pcr-private-key", privateA, "--pcr-public-key", publicA, "--pcr-banks", "sha256"}},
		{"profiles", []uki.PCRKey{{Key: keyA}}, nil, true, nil, []string{"--pcr-private-key", privateA, "--pcr-public-key", publicA, "--join-profile", put(t, profile)}},
		{"two keys and phases", []uki.PCRKey{{keyA, paths}, {keyB, []string{"enter-initrd:leave-initrd:sysinit"}}}, uki.Banks[1:3], false, nil, []string{
			"--pcr-private-key", privateA, "--pcr-public-key", publicA, "--phases", strings.ReplaceAll(phases, " ", ""),
			"--pcr-private-key", privateB, "--pcr-public-key", publicB, "--phases", "enter-initrd:leave-initrd:sysinit", "--pcr-banks", "sha256,sha384",
		}},
		{"device trees", []uki.PCRKey{{Key: keyA}}, uki.Banks[1:2], false, []string{"first", "second"}, []string{"--pcr-private-key", privateA, "--pcr-public-key", publicA, "--pcr-banks", "sha256"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := uki.Options{Stub: mustRead(t, s.stub), Linux: kernel("6.12.7"), Initrd: []byte("initrd"), Cmdline: "quiet", SBAT: []byte("sbat,1\nx,1,y\n")}
			if len(test.keys) == 1 {
				o.PCRPKey = mustRead(t, publicA)
			}
			o.SignPCR = func(measured []uki.Section) ([]byte, error) { return uki.SignPCR(measured, test.banks, test.keys) }
			args := append([]string{"build", "--stub", s.stub, "--linux", put(t, o.Linux), "--initrd", put(t, o.Initrd), "--cmdline", o.Cmdline,
				"--os-release", "", "--sbat", string(o.SBAT), "--tools", tools}, test.args...)
			if len(test.keys) > 1 { // else ukify asks another program for it
				args = append(args, "--pcrpkey", publicB)
				o.PCRPKey = mustRead(t, publicB)
			}
			if test.join {
				o.Join = [][]byte{profile}
			}
			for _, tree := range test.trees {
				o.DeviceTreeAuto = append(o.DeviceTreeAuto, []byte(tree))
				args = append(args, "--devicetree-auto", put(t, []byte(tree)))
			}
			out := filepath.Join(t.TempDir(), "uki")
			s.run(t, append(args, "--output", out)...)
			ours, err := uki.Assemble(o)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(ours, []byte(`"pkfp"`)) {
				t.Fatal("there is no signature")
			}
			sameProfiles(t, ours, mustRead(t, out))
		})
	}
}

// Phases that systemd never enters are refused.
func TestParsePhases(t *testing.T) {
	for _, text := range []string{"", " , ", "boot", "enter-initrd:", "enter-initrd,leave", "enter-initrd:enter initrd"} {
		if paths, err := uki.ParsePhases(text); err == nil {
			t.Errorf("%q was taken for %q", text, paths)
		}
	}
}

// Hardware IDs that can't be understood are refused with the file's name.
func TestPackHWIDsRefuses(t *testing.T) {
	for name, content := range map[string]string{
		"nothing":      "",
		"not JSON":     "{",
		"no name":      `{"compatible": "x", "hwids": []}`,
		"short GUID":   `{"name": "x", "compatible": "x", "hwids": ["6de5d951-d755-576b-bd09"]}`,
		"no hex":       `{"name": "x", "compatible": "x", "hwids": ["6de5d951-d755-576b-bd09-c5cf66b2723x"]}`,
		"NUL":          `{"name": "x\u0000", "compatible": "x", "hwids": []}`,
		"too large":    strings.Repeat(" ", 1<<20+1),
		"dashes moved": `{"name": "x", "compatible": "x", "hwids": ["6de5d951d-755-576b-bd09-c5cf66b27234"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "x.json"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := uki.PackHWIDs(os.DirFS(dir)); err == nil || !strings.Contains(err.Error(), "x.json: ") {
				t.Errorf("found %v", err)
			}
		})
	}
	if _, err := uki.PackHWIDs(os.DirFS(t.TempDir())); err == nil {
		t.Error("an empty directory was taken")
	}
}
