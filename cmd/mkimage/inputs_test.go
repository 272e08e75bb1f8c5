package main

import (
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/ukiparts"
)

// absent are command lines for the machine of userMachine, by the flag or argument whose
// input isn't there: it is called nosuch.
var absent = map[string]string{
	"build SOURCE":             "build nosuch",
	"build tar:":               "build tar:nosuch",
	"build dump:":              "build dump:nosuch",
	"build crfs:":              "build crfs:nosuch",
	"build --seal":             "build --repo repo --seal nosuch --sequence 9 root",
	"build --password-file":    "build --repo repo --seal mykey.key --password-file nosuch --sequence 9 root",
	"build --repo":             "build --repo nosuch/repo root",
	"build --output":           "build --output nosuch/image root",
	"build --cache":            "build --cache nosuch/cache root",
	"build --one-use-key":      "build --repo repo --one-use-key nosuch/key root",
	"repo init DIR":            "repo init nosuch/repo",
	"fetch --repo":             "fetch --repo nosuch/repo --from repo DIGEST",
	"fetch --from":             "fetch --repo repo --from nosuch DIGEST",
	"repo fsck --repair-from":  "repo fsck --repair-from nosuch lost",
	"repo refs DIR":            "repo refs nosuch",
	"repo cat DIR":             "repo cat nosuch DIGEST",
	"repo copy FROM":           "repo copy nosuch other",
	"repo copy TO":             "repo copy repo nosuch/repo stable",
	"oci copy --repo":          "oci copy --repo nosuch/repo --from repo app",
	"oci copy --from":          "oci copy --repo other --from nosuch app",
	"repo gc DIR":              "repo gc nosuch",
	"repo fsck DIR":            "repo fsck nosuch",
	"oci pull REF":             "oci pull --repo repo oci:nosuch tag",
	"oci pull --repo":          "oci pull --repo nosuch/repo oci:LAYOUTS/basic-gzip tag",
	"oci pull --keys":          "oci pull --repo repo --keys nosuch oci:LAYOUTS/basic-gzip",
	"oci push --repo":          "oci push --repo nosuch stable oci:x",
	"oci push REF":             "oci push --repo repo --platform linux/amd64 stable oci:nosuch/layout",
	"oci list --repo":          "oci list --repo nosuch",
	"oci tag --repo":           "oci tag --repo nosuch a b",
	"oci untag --repo":         "oci untag --repo nosuch a",
	"oci mount --repo":         "oci mount --repo nosuch a root",
	"oci mount DIR":            "oci mount --repo repo a nosuch",
	"oci mount --keys":         "oci mount --repo repo --keys nosuch a root",
	"oci mount --upperdir":     "oci mount --verity off --repo repo --upperdir nosuch --workdir other app root",
	"oci mount --workdir":      "oci mount --verity off --repo repo --upperdir other --workdir nosuch app root",
	"oci mount --idmap":        "oci mount --verity off --repo repo --idmap nosuch app root",
	"oci dump --repo":          "oci dump --repo nosuch a",
	"key new NAME":             "key new nosuch/key",
	"key new --password-file":  "key new --password-file nosuch other2",
	"key show FILE":            "key show nosuch",
	"key show --password-file": "key show --password-file nosuch mykey.key",
	"seal --repo":              "seal --repo nosuch --key mykey.key --sequence 1 stable",
	"seal --key":               "seal --repo repo --key nosuch --sequence 1 stable",
	"seal --password-file":     "seal --repo repo --key mykey.key --password-file nosuch --sequence 1 stable",
	"seal --one-use-key":       "seal --repo repo --one-use-key nosuch/key stable",
	"seal --output":            "seal --repo repo --statement-only --sequence 1 --output nosuch/statement stable",
	"seal --add-signature":     "seal --repo repo --add-signature nosuch stable",
	"seal --statement":         "seal --repo repo --add-signature SIGNATURE --statement nosuch stable",
	"seal --keys":              "seal --repo repo --add-signature SIGNATURE --keys nosuch stable",
	"verify --repo":            "verify --repo nosuch stable",
	"verify --keys":            "verify --repo repo --keys nosuch stable",
	"verify --keys *.pub":      "verify --repo repo --keys nosuch.pub stable",
	"verify --policy":          "verify --repo repo --policy nosuch stable",
	"initrd --setup-root":      "initrd --setup-root nosuch --modules MODULES --output x",
	"initrd --modules":         "initrd --setup-root setup-root --modules nosuch --output x",
	"initrd --keys":            "initrd --setup-root setup-root --modules MODULES --keys nosuch --output x",
	"initrd --policy":          "initrd --setup-root setup-root --modules MODULES --policy nosuch --output x",
	"initrd --output":          "initrd --setup-root setup-root --modules MODULES --output nosuch/x",
	"uki build --linux":        "uki build --stub STUB --linux nosuch --initrd initrd.img --cmdline root=/dev/vda --image DIGEST --output x",
	"uki build --initrd":       "uki build --stub STUB --linux kernel --uname 6.12.1-test --initrd nosuch --cmdline root=/dev/vda --image DIGEST --output x",
	"uki build --stub":         "uki build --stub nosuch --linux kernel --uname 6.12.1-test --initrd initrd.img --cmdline root=/dev/vda --image DIGEST --output x",
	"uki build --output":       "uki build --stub STUB --linux kernel --uname 6.12.1-test --initrd initrd.img --cmdline root=/dev/vda --image DIGEST --output nosuch/x",
	"uki inspect FILE":         "uki inspect nosuch",
	"uki verify FILE":          "uki verify --sb-cert db.crt nosuch",
	"uki verify --sb-cert":     "uki verify --sb-cert nosuch linux.efi",
	"uki sign FILE":            "uki sign --remove --output x nosuch",
	"uki sign --sb-key":        "uki sign --sb-key nosuch --sb-cert db.crt --output x linux.efi",
	"uki sign --sb-cert":       "uki sign --sb-key db.key --sb-cert nosuch --output x linux.efi",
	"uki sign --add-signature": "uki sign --add-signature nosuch --output x linux.efi",
	"uki sign --to-be-signed":  "uki sign --to-be-signed nosuch/x linux.efi",
	"uki sign --output":        "uki sign --sb-key db.key --sb-cert db.crt --output nosuch/x linux.efi",
	"disk --repo":              "disk --repo nosuch --image stable --uki linux.efi --output x",
	"disk --uki":               "disk --repo repo --image stable --uki nosuch --output x",
	"disk --esp":               "disk --repo repo --image stable --uki linux.efi --esp a=nosuch --output x",
	"disk --output":            "disk --repo repo --image stable --uki linux.efi --output nosuch/x",
	"disk --write-device":      "disk --repo repo --image stable --uki linux.efi --write-device --output nosuch",
	"ls IMAGE":                 "ls nosuch",
	"ls --repo":                "ls --repo nosuch stable",
	"dump IMAGE":               "dump nosuch",
	"dump --repo":              "dump --repo nosuch stable",
	"objects IMAGE":            "objects nosuch",
	"objects --repo":           "objects --repo nosuch stable",
	"missing IMAGE":            "missing --basedir repo/objects nosuch",
	"missing --repo":           "missing --repo nosuch stable",
	"missing --basedir":        "missing --basedir nosuch image",
	"measure FILE":             "measure nosuch",
	"measure --policy":         "measure --repo repo --pcr --root-uuid 00000000-0000-0000-0000-000000000001 --policy nosuch stable",
	"measure --repo":           "measure --repo nosuch stable",
	"diff A":                   "diff nosuch root",
	"diff B":                   "diff root nosuch",
	"diff tar:":                "diff root tar:nosuch",
	"diff --repo":              "diff --repo nosuch stable root",
	"doctor THING":             "doctor nosuch",
	"doctor --repo":            "doctor --repo nosuch linux.efi",
	"doctor --modules":         "doctor --modules nosuch initrd.img",
	"mount IMAGE":              "mount --basedir repo/objects nosuch root",
	"mount DIR":                "mount --verity off --basedir repo/objects image nosuch",
	"mount --repo":             "mount --repo nosuch stable root",
	"mount --basedir":          "mount --verity off --basedir nosuch image root",
	"mount --keys":             "mount --repo repo --keys nosuch stable root",
	"mount --upperdir":         "mount --verity off --basedir repo/objects --upperdir nosuch --workdir other image root",
	"mount --workdir":          "mount --verity off --basedir repo/objects --upperdir other --workdir nosuch image root",
	"mount --idmap":            "mount --verity off --basedir repo/objects --idmap nosuch image root",
	"umount DIR":               "umount nosuch",
}

// init adds the parts of UKIs and addons, which are read before anything is made of them.
func init() {
	const (
		uki   = "uki build --stub STUB --linux kernel --uname 6.12.1-test --initrd initrd.img --cmdline root=/dev/vda --image DIGEST --output x "
		addon = "uki addon --stub ADDON --cmdline quiet --output x "
	)
	for _, f := range []string{
		"devicetree", "microcode", "sbat", "os-release", "splash", "join", "pcr-key", "pcrpkey", "pcrsig",
	} {
		absent["uki build --"+f] = uki + "--" + f + " nosuch"
	}
	absent["uki build --devicetree-auto"] = uki + "--hwids root --devicetree-auto nosuch"
	absent["uki build --hwids"] = uki + "--hwids nosuch --devicetree-auto digest"
	absent["uki build --pcr-public-key"] = uki + "--pcr-key db.key --pcr-public-key nosuch"
	for _, f := range []string{"devicetree", "initrd", "microcode", "sbat", "uki"} {
		absent["uki addon --"+f] = addon + "--" + f + " nosuch"
	}
	absent["uki addon --stub"] = "uki addon --stub nosuch --cmdline quiet --output x"
	absent["uki addon --output"] = "uki addon --stub ADDON --cmdline quiet --output nosuch/x"
	for command, line := range map[string]string{"build": uki, "addon": addon} {
		absent["uki "+command+" --sb-key"] = line + "--sb-key nosuch --sb-cert db.crt"
		absent["uki "+command+" --sb-cert"] = line + "--sb-key db.key --sb-cert nosuch"
	}
}

func TestAnInputThatIsNotThereIsStatus1InEveryCommand(t *testing.T) {
	model := userMachine(t)
	t.Chdir(model)
	if out, status := shell(t, model, "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=us -keyout db.key -out db.crt && mkimage build --output image root && mkimage seal --repo repo --key mykey.key --sequence 1 stable && cp -a repo lost && rm -f lost/objects/$(mkimage objects image | head -n 1) && mkimage oci pull --repo repo \"oci:$LAYOUTS/basic-gzip\" app"); status != 0 {
		t.Fatal(out)
	}
	digest, err := os.ReadFile("digest")
	if err != nil {
		t.Fatal(err)
	}
	hex := strings.TrimSpace(string(digest))
	fill := strings.NewReplacer("MODULES", "root/usr/lib/modules/6.12.1-test", "STUB", ukiparts.StubPath(uki.StubLinux, runtime.GOARCH), "ADDON", addonStub(t), "DIGEST", hex, "LAYOUTS", os.Getenv("LAYOUTS"), "SIGNATURE", "repo/seals/"+hex+".seal.minisig")
	for name, line := range absent {
		args := strings.Fields(line)
		for i := range args {
			args[i] = fill.Replace(args[i]) // which may have blanks
		}
		want := exitFailure
		switch {
		case args[0] == "diff":
			want = exitTrouble
		case strings.HasPrefix(name, "verify --keys"), name == "verify --policy":
			want = exitUsage // as at the boot
		}
		status, out, errs := mkimageIn(t, args...)
		if status != want || out != "" || !strings.Contains(errs, "nosuch") || !strings.Contains(errs, "no such file or directory") {
			t.Errorf("%s: mkimage %s\nstatus %d, want %d: %s%s", name, line, status, want, errs, out)
		}
	}
}

// No flag that takes a file may be forgotten above.
func TestEveryFlagThatNamesAFileIsTriedWithoutIt(t *testing.T) {
	var walk func(cmd *cobra.Command, path string)
	walk = func(cmd *cobra.Command, path string) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			operand, _ := pflag.UnquoteUsage(f)
			if operand != "FILE" && operand != "DIR" && operand != "PATH=FILE" {
				return
			}
			if absent[path+" --"+f.Name] == "" {
				t.Errorf("mkimage %s --%s %s isn't tried", path, f.Name, operand)
			}
		})
		for _, sub := range cmd.Commands() {
			walk(sub, strings.TrimSpace(path+" "+sub.Name()))
		}
	}
	for _, add := range commands {
		cmd := add(newUI(nil, io.Discard, io.Discard))
		walk(cmd, cmd.Name())
	}
}
