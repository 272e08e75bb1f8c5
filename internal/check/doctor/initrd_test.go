package doctor_test

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/check/doctor"
	"github.com/composefs-go/composefs/sign"
)

// setupRoot builds composefs-setup-root.
func setupRoot(t *testing.T, env ...string) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "composefs-setup-root")
	cmd := exec.Command("go", "build", "-o", name, "../../../cmd/composefs-setup-root")
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build composefs-setup-root: %v\n%s", err, out)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func newKey(t testing.TB) sign.PrivateKey {
	t.Helper()
	k, err := sign.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const (
	modulesDir   = "usr/lib/modules/6.12.1-test/"
	hex          = "0f0e0d0c0b0a09080706050403020100ffeeddccbbaa99887766554433221100"
	argument     = "composefs.digest=v1-sha256-12:" + hex
	goodLine     = "root=PARTLABEL=root ro " + argument
	gate         = "usr/lib/systemd/system/initrd-switch-root.service.d/composefs.conf"
	gateHook     = "usr/lib/dracut/hooks/cleanup/99composefs-verified.sh"
	initrdTarget = "usr/lib/systemd/system/initrd.target"
	unitFile     = "usr/lib/systemd/system/composefs-setup-root.service"
	wants        = "usr/lib/systemd/system/initrd-root-fs.target.wants/composefs-setup-root.service"
	program      = "usr/lib/composefs/composefs-setup-root"
	hook         = "usr/lib/dracut/hooks/mount/50composefs-mount.sh"
	configPath   = "usr/lib/composefs/setup-root-conf.toml"
	keyFile      = "usr/lib/composefs/keys.d/ours.pub"
	listFile     = "usr/lib/composefs/modules"
)

func text(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s), Mode: 0o644} }

func link(to string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777}
}

// common is what every good initrd has.
func common(t testing.TB, names ...string) fstest.MapFS {
	t.Helper()
	root := fstest.MapFS{
		keyFile:                        {Data: newKey(t).Public("").Text(), Mode: 0o644},
		configPath:                     text("[verify]\nminimum-sequence = 3\n"),
		modulesDir + "modules.builtin": text("kernel/drivers/virtio/virtio_pci.ko\n"),
	}
	for _, name := range names {
		root[modulesDir+"kernel/"+name+".ko"] = text("\x7fELF")
	}
	return root
}

// asInit is an initrd as mkimage makes it, asUnit one of dracut with systemd, asHook
// one of dracut without.
func asInit(t *testing.T, setupRoot []byte) fstest.MapFS {
	root := common(t, "erofs", "overlay", "ext4", "jbd2", "virtio_blk")
	root["init"] = &fstest.MapFile{Data: setupRoot, Mode: 0o755}
	dir := "/" + modulesDir + "kernel/"
	root[listFile] = text(dir + "jbd2.ko:\n" + dir + "ext4.ko: " + dir + "jbd2.ko\n")
	return root
}

func asDracut(t testing.TB, setupRoot []byte) fstest.MapFS {
	root := common(t, "erofs", "overlay", "ext4", "nvme-core", "nvme")
	root[modulesDir+"modules.dep"] = text("kernel/nvme.ko: kernel/nvme-core.ko\nkernel/nvme-core.ko:\nkernel/erofs.ko:\n")
	root[program] = &fstest.MapFile{Data: setupRoot, Mode: 0o755}
	return root
}

func asUnit(t *testing.T, setupRoot []byte) fstest.MapFS { return unitTree(t, setupRoot) }

func unitTree(t testing.TB, setupRoot []byte) fstest.MapFS {
	root := asDracut(t, setupRoot)
	root["usr/lib/systemd/systemd"] = &fstest.MapFile{Data: []byte("\x7fELF"), Mode: 0o755}
	root["init"] = link("usr/lib/systemd/systemd")
	for name, from := range map[string]string{unitFile: "composefs-setup-root.service", gate: "composefs-switch-root.conf"} {
		content, err := os.ReadFile("../../../dracut/90composefs/" + from)
		if err != nil {
			t.Fatal(err)
		}
		root[name] = &fstest.MapFile{Data: content, Mode: 0o644}
	}
	root[wants] = link("../composefs-setup-root.service")
	root["etc/initrd-release"] = text("ID=x\n")
	root[initrdTarget] = text("[Unit]\nAssertPathExists=/etc/initrd-release\nRequires=basic.target\nWants=initrd-root-fs.target initrd-root-device.target initrd-fs.target\n")
	return root
}

func asHook(t *testing.T, setupRoot []byte) fstest.MapFS {
	root := asDracut(t, setupRoot)
	root["init"] = &fstest.MapFile{Data: []byte("#!/bin/sh\n"), Mode: 0o755}
	for name, from := range map[string]string{hook: "composefs-mount.sh", gateHook: "composefs-verified.sh"} {
		content, err := os.ReadFile("../../../dracut/90composefs/" + from)
		if err != nil {
			t.Fatal(err)
		}
		root[name] = &fstest.MapFile{Data: content, Mode: 0o755}
	}
	return root
}

// examine does what Examiner does with an initrd that is unpacked already.
func examine(root fstest.MapFS, line string) *doctor.Report {
	r := &doctor.Report{}
	i := &doctor.Initrd{Root: root, Kernel: "6.12.1-test", Machine: elf.EM_X86_64}
	start, trust := i.Examine(r)
	_, device := i.Cmdline(r, line, start, trust, "amd64")
	i.Modules(r, device)
	i.CheckKernel(r, trust, bootcfg.Cmdline{})
	return r
}

// Each thing that a boot needs, taken away once, is a finding of its own: that one
// and no other.
func TestWhatABootNeeds(t *testing.T) {
	binary := setupRoot(t, "GOARCH=amd64")
	other := setupRoot(t, "GOARCH=arm64")
	without := func(names ...string) func(fstest.MapFS) {
		return func(root fstest.MapFS) {
			for _, name := range names {
				if root[name] == nil {
					t.Errorf("there is no %s to take away", name)
				}
				delete(root, name)
			}
		}
	}
	put := func(name, content string) func(fstest.MapFS) {
		return func(root fstest.MapFS) { root[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o755} }
	}
	linked := func(name string) func(fstest.MapFS) {
		return func(root fstest.MapFS) { root[name] = link("/dev/null") }
	}
	module := func(name string) string { return modulesDir + "kernel/" + name + ".ko" }
	for _, test := range []struct {
		name   string
		root   func(*testing.T, []byte) fstest.MapFS
		change func(fstest.MapFS)
		line   string // goodLine if ""
		want   string // "check" of a finding that stops, "?check" of a warning, "" for none
		says   string
	}{
		{"good, as /init", asInit, nil, "", "", ""},
		{"good, as a unit", asUnit, nil, "", "", ""},
		{"good, from a hook", asHook, nil, "", "", ""},

		{"no init", asInit, without("init"), "", "init", "/init"},
		{"init of a unit initrd", asUnit, without("init"), "", "init", "/init"},
		{"another init", asInit, put("init", "\x7fELF and nothing more"), "", "setup-root", "neither /init nor at"},
		{"for another machine", asInit, put("init", string(other)), "", "machine", "EM_AARCH64"},
		{"no program", asUnit, without(program), "", "setup-root", program},
		{"another program", asUnit, put(program, "#!/bin/sh\n"), "", "executable", "is no program"},
		{"not executable", asUnit, func(root fstest.MapFS) { root[program].Mode = 0o644 }, "", "executable", "mode 644"},
		{"no unit", asUnit, without(unitFile), "", "unit", "nothing starts"},
		{"unit that nobody wants", asUnit, without(wants), "", "unit-wanted", "initrd-root-fs.target"},
		{"unit wanted by another target", asUnit, func(root fstest.MapFS) {
			root["usr/lib/systemd/system/initrd.target.wants/composefs-setup-root.service"] = root[wants]
			delete(root, wants)
		}, "", "unit-wanted", "initrd-root-fs.target"},
		{"unit that is required", asUnit, func(root fstest.MapFS) {
			root[strings.Replace(wants, "wants", "requires", 1)] = root[wants]
			delete(root, wants)
		}, "", "", ""},
		{"unit of another program", asUnit, put(unitFile, "[Service]\nExecStart=-/usr/bin/other --flag\n"), "", "unit-command", "/usr/bin/other"},
		{"unit without a program", asUnit, put(unitFile, "[Service]\n"), "", "unit-command", "starts nothing"},
		{"unit of a program that is there", asUnit, func(root fstest.MapFS) {
			put("usr/bin/true", "\x7fELF")(root)
			put(unitFile, "[Service]\nExecStart=/usr/bin/true\n")(root)
		}, "", "unit-command", "/usr/bin/true"},
		{"unit of the program elsewhere", asUnit, func(root fstest.MapFS) {
			put("usr/bin/composefs-setup-root", string(binary))(root)
			put(unitFile, "[Service]\nExecStart=/usr/bin/composefs-setup-root\n")(root)
		}, "", "", ""},
		{"unit with a flag", asUnit, put(unitFile, "[Service]\nExecStart=/"+program+" --dry-run\n"), "", "unit-command", "--dry-run"},
		{"unit that may fail", asUnit, put(unitFile, "[Service]\nExecStart=-/"+program+"\n"), "", "unit-command", `"-/usr`},
		{"unit masked", asUnit, linked("etc/systemd/system/composefs-setup-root.service"), "", "unit-masked", "masked by /etc/systemd/system/"},
		{"unit masked by an empty file", asUnit, put("etc/systemd/system/composefs-setup-root.service", ""), "", "unit-masked", "masked by /etc/systemd/system/"},
		{"unit masked in /run", asUnit, linked("run/systemd/system/composefs-setup-root.service"), "", "unit-masked", "masked by /run/systemd/system/"},
		{"unit masked in /usr/local", asUnit, linked("usr/local/lib/systemd/system/composefs-setup-root.service"), "", "unit-masked", "masked by /usr/local/lib/"},
		{"unit before its mask", asUnit, linked("run/systemd/generator.late/composefs-setup-root.service"), "", "", ""},
		{"target masked", asUnit, linked("etc/systemd/system/initrd-root-fs.target"), "", "unit-masked", "initrd-root-fs.target is masked"},
		{"the switch masked", asUnit, linked("etc/systemd/system/initrd-switch-root.service"), "", "unit-masked", "initrd-switch-root.service is masked"},
		{"what wants the unit, masked", asUnit, linked(strings.Replace(wants, "usr/lib", "etc", 1)), "", "unit-wanted", "initrd-root-fs.target"},
		{"unit replaced", asUnit, put("etc/systemd/system/composefs-setup-root.service", "[Service]\nExecStart=/bin/sh\n"), "", "unit-command", "/bin/sh"},
		{"another command by a drop-in", asUnit, put(unitFile+".d/x.conf", "[Service]\nExecStart=\nExecStart=/bin/true\n"), "", "unit-command", "/bin/true"},
		{"the command in a section that nobody reads", asUnit, put(unitFile+".d/x.conf", "[Service]\nExecStart=\nExecStart=/bin/true\n[X-Ours]\nExecStart=\nExecStart=/"+program+"\n"), "", "unit-command", "/bin/true"},
		{"another command after a comment", asUnit, put(unitFile+".d/x.conf", "[Service]\n# a comment \\\nExecStart=/bin/true\n"), "", "unit-command", "/bin/true"},
		{"another command after a backslash that continues nothing", asUnit, put(unitFile+".d/x.conf", "[Service]\nX-A=1 \\ \nExecStart=/bin/true\n"), "", "unit-command", "/bin/true"},
		{"another command after another end of a line", asUnit, put(unitFile+".d/x.conf", "[Service]\nX-A=1\rExecStart=/bin/true\n"), "", "unit-text", `x.conf has a say in composefs-setup-root.service, and has a line that isn't one of a unit as systemd writes them, [SECTION], KEY=VALUE or a comment: "X-A=1\rExecStart=/bin/true"`},
		{"another command after a mark of Windows", asUnit, put(unitFile+".d/x.conf", "\ufeff[Service]\r\nExecStart=/bin/true\r\n"), "", "unit-text", `"\ufeff[Service]\r"`},
		{"a comment within a line", asUnit, put(unitFile+".d/x.conf", "[Unit]\nConditionPathExists=\\\n# why\n/absent\n"), "", "unit-text", `"ConditionPathExists=\\"`},
		{"a condition where systemd reads none", asUnit, put(unitFile+".d/x.conf", "[Service]\nConditionPathExists=/absent\n"), "", "unit-skipped", "ConditionPathExists=/absent"},
		{"one more command by a drop-in", asUnit, put(unitFile+".d/x.conf", "[Service]\nExecStart=/bin/sh\n"), "", "unit-command", "/bin/sh"},
		{"the same command by a drop-in", asUnit, put(unitFile+".d/x.conf", "[Service]\nExecStart =\n# ExecStart=/bin/sh \\\nExecStart = /"+program+" \nTimeoutStartSec=9\n\n; more\n"), "", "", ""},
		{"a condition by a drop-in", asUnit, put("etc/systemd/system/composefs-setup-root.service.d/x.conf", "[Unit]\nConditionPathExists=/absent\n"), "", "unit-skipped", `"ConditionPathExists=/absent" ("/etc`},
		{"a condition by a drop-in for a prefix", asUnit, put("run/systemd/system/composefs-.service.d/x.conf", "[Unit]\nAssertPathExists=/absent\n"), "", "unit-skipped", "composefs-.service.d/x.conf"},
		{"a condition by a drop-in for all services", asUnit, put("usr/local/lib/systemd/system/service.d/x.conf", "[Service]\nExecCondition=false\n"), "", "unit-skipped", "/service.d/x.conf"},
		{"a condition that another takes back", asUnit, func(root fstest.MapFS) {
			put(unitFile+".d/a.conf", "[Unit]\nConditionPathExists=/absent\n")(root)
			put("etc/systemd/system/service.d/b.conf", "[Unit]\nConditionHost=\n")(root)
		}, "", "unit-skipped", `a.conf"`},
		{"a condition in a drop-in that is masked", asUnit, func(root fstest.MapFS) {
			put(unitFile+".d/a.conf", "[Unit]\nConditionPathExists=/absent\n")(root)
			linked("etc/systemd/system/composefs-setup-root.service.d/a.conf")(root)
		}, "", "unit-skipped", `a.conf"`},
		{"a refusal that is a success", asUnit, put(unitFile+".d/x.conf", "[Service]\nSuccessExitStatus=3 4 5 6\n"), "", "unit-status", "SuccessExitStatus=3 4 5 6"},
		{"gate masked", asUnit, linked(strings.Replace(gate, "usr/lib", "etc", 1)), "", "?gate", "nothing in the initrd checks"},
		{"gate taken back", asUnit, put(strings.Replace(gate, "composefs.conf", "z.conf", 1), "[Service]\nExecStartPre=\n"), "", "?gate", "nothing in the initrd checks"},
		{"unit of an older version", asUnit, without(gate), "", "?gate", "older version of our dracut module"},
		{"hook of an older version", asHook, without(gateHook), "", "?gate", "older version of our dracut module"},
		{"a hook that runs something else", asHook, put(hook, "#!/bin/sh\n"), "", "unit", "neither systemd nor a hook"},
		{"a hook beside systemd", asUnit, func(root fstest.MapFS) {
			delete(root, unitFile)
			root[hook], root[gateHook] = text("/"+program+"\n"), text("/"+program+"\n")
		}, "", "unit", "nothing starts"},
		{"a directory for a hook", asHook, func(root fstest.MapFS) {
			delete(root, hook)
			root[hook+"/x"] = text("")
		}, "", "unit", "neither systemd nor a hook"},
		{"another program as /init", asUnit, func(root fstest.MapFS) {
			delete(root, "init")
			put("init", "#!/bin/sh\nexec /bin/sh\n")(root)
		}, "", "?init", "whether it starts systemd"},
		{"our script as /init", asUnit, func(root fstest.MapFS) {
			content, err := os.ReadFile("../../../dracut/90composefs/composefs-init.sh")
			if err != nil {
				t.Error(err)
			}
			delete(root, "init")
			put("init", string(content))(root)
		}, "", "", ""},
		{"systemd that is none", asUnit, put("usr/lib/systemd/systemd", ""), "", "init", "is no program"},
		{"no initrd-release", asUnit, without("etc/initrd-release"), "", "initrd-release", "wouldn't know that it is in an initrd"},
		{"the first target masked", asUnit, linked("etc/systemd/system/initrd.target"), "", "unit-masked", "initrd.target is masked"},
		{"a first target that wants nothing", asUnit, put(initrdTarget, "[Unit]\n"), "", "unit-wanted", "initrd.target, which systemd starts, doesn't want initrd-root-fs.target"},
		{"the first target's usual name", asUnit, func(root fstest.MapFS) { root["usr/lib/systemd/system/default.target"] = link("initrd.target") }, "", "", ""},
		{"the first target's usual name, with a condition", asUnit, func(root fstest.MapFS) {
			root["usr/lib/systemd/system/default.target"] = link("initrd.target")
			put("etc/systemd/system/default.target.d/x.conf", "[Unit]\nConditionPathExists=/absent\n")(root)
		}, "", "unit-skipped", "initrd.target has the line"},
		{"another name of the first target", asUnit, func(root fstest.MapFS) { root["usr/lib/systemd/system/x.target"] = link("initrd.target") }, "", "unit-alias", "gives initrd.target another name"},
		{"a first target with a link", asUnit, func(root fstest.MapFS) {
			put(initrdTarget, "[Unit]\n")(root)
			root["etc/systemd/system/initrd.target.requires/initrd-root-fs.target"] = link("../../../../usr/lib/systemd/system/initrd-root-fs.target")
			put("usr/lib/systemd/system/initrd-root-fs.target", "[Unit]\n")(root)
		}, "", "", ""},
		{"no hook", asHook, without(hook), "", "unit", "nothing starts"},

		{"a gate that may fail", asUnit, put("etc/systemd/system/initrd-switch-root.service.d/x.conf", "[Service]\nSuccessExitStatus=8\n"), "", "unit-status", "initrd-switch-root.service has the line"},
		{"a gate that is skipped", asUnit, put("etc/systemd/system/initrd-switch-root.service.d/x.conf", "[Unit]\nConditionPathExists=/absent\n"), "", "unit-skipped", "initrd-switch-root.service has the line"},
		{"a gate of other files", asUnit, put("etc/systemd/system/initrd-switch-root.service.d/x.conf", "[Service]\nRootDirectory=/evil\n"), "", "?unit-elsewhere", "RootDirectory=/evil"},
		{"another switch", asUnit, put("etc/systemd/system/initrd-switch-root.service.d/x.conf", "[Service]\nExecStart=\nExecStart=systemctl --no-block switch-root /run/evil\n"), "", "unit-command", "switch to another root"},
		{"a mount after the gate", asUnit, put("etc/systemd/system/initrd-switch-root.service.d/x.conf", "[Service]\nExecStartPre=/usr/bin/mount LABEL=evil /sysroot\n"), "", "unit-command", "LABEL=evil"},
		{"a command before our program", asUnit, put(unitFile+".d/x.conf", "[Service]\nExecStartPre=/usr/bin/sh -c x\n"), "", "unit-command", "sh -c x"},
		{"a command after our program", asUnit, put(unitFile+".d/x.conf", "[Service]\nExecStartPost=/usr/bin/umount -l /run\n"), "", "unit-command", "umount"},
		{"something else when the gate refuses", asUnit, put("etc/systemd/system/initrd-switch-root.service.d/x.conf", "[Unit]\nOnFailure=x.service\n"), "", "unit-setting", "OnFailure=x.service"},
		{"something else when our program refuses", asUnit, put(unitFile+".d/x.conf", "[Unit]\nFailureAction=none\n"), "", "unit-setting", "FailureAction=none"},
		{"a gate with mounts of its own", asUnit, put("etc/systemd/system/initrd-switch-root.service.d/x.conf", "[Service]\nPrivateMounts=yes\n"), "", "?unit-setting", "PrivateMounts=yes"},
		{"a unit with mounts of its own", asUnit, put(unitFile+".d/x.conf", "[Service]\nProtectSystem=yes\n"), "", "?unit-setting", "ProtectSystem=yes"},
		{"a drop-in from beside the UKI", asUnit, func(root fstest.MapFS) {
			root["etc/systemd/system/composefs-setup-root.service.d/x.conf"] = link("/.extra/global_credentials/a.cred")
		}, "", "extra", "global_credentials/a.cred"},
		{"a file where the stub puts others", asUnit, put(".extra/a.cred", "x"), "", "extra", "/.extra/a.cred"},
		{"a directory of links to what is beside the UKI", asUnit, func(root fstest.MapFS) { root["usr/evil"] = link("../.extra") }, "", "extra", "/usr/evil"},
		{"another path of units", asUnit, put("etc/systemd/system.conf", "[Manager]\n#ManagerEnvironment=X=1\nManagerEnvironment=SYSTEMD_UNIT_PATH=/evil\n"), "", "manager-environment", "SYSTEMD_UNIT_PATH=/evil"},
		{"another path of units in a drop-in", asUnit, put("usr/lib/systemd/system.conf.d/x.conf", "[Manager]\nManagerEnvironment=SYSTEMD_UNIT_PATH=/evil\n"), "", "manager-environment", "/usr/lib/systemd/system.conf.d/x.conf"},
		{"a unit of other files", asUnit, put("etc/systemd/system/composefs-setup-root.service.d/x.conf", "[Service]\nBindReadOnlyPaths=/evil:/usr\n"), "", "?unit-elsewhere", "BindReadOnlyPaths=/evil:/usr"},
		{"a unit with a setting that begins alike", asUnit, put(unitFile+".d/x.conf", "[Unit]\nBindsTo=x.device\n"), "", "", ""},
		{"a target that is skipped", asUnit, put("etc/systemd/system/initrd-root-fs.target.d/x.conf", "[Unit]\nConditionPathExists=/absent\n"), "", "unit-skipped", "initrd-root-fs.target has the line"},
		{"a target of devices that is skipped", asUnit, put("etc/systemd/system/initrd-root-device.target.d/x.conf", "[Unit]\nAssertHost=x\n"), "", "unit-skipped", "initrd-root-device.target has the line"},
		{"targets as systemd has them", asUnit, put("usr/lib/systemd/system/initrd-root-fs.target", "[Unit]\nAssertPathExists=/etc/initrd-release\n"), "", "", ""},
		{"a unit by another name, with a condition", asUnit, func(root fstest.MapFS) {
			root["etc/systemd/system/other.service"] = root[unitFile]
			root["etc/systemd/system/composefs-setup-root.service"] = link("other.service")
			put("etc/systemd/system/other.service.d/x.conf", "[Unit]\nConditionPathExists=/absent\n")(root)
		}, "", "unit-alias", "gives composefs-setup-root.service another name, for which there may be other settings"},
		{"another name of the unit, with a condition", asUnit, func(root fstest.MapFS) {
			root["etc/systemd/system/other.service"] = link("/" + unitFile)
			put("etc/systemd/system/other.service.d/x.conf", "[Unit]\nConditionPathExists=/absent\n")(root)
		}, "", "unit-alias", "gives composefs-setup-root.service another name, for which there may be other settings"},
		{"a unit by another name", asUnit, func(root fstest.MapFS) {
			root["etc/systemd/system/other.service"] = root[unitFile]
			root["etc/systemd/system/composefs-setup-root.service"] = link("other.service")
		}, "", "unit-alias", "/etc/systemd/system/composefs-setup-root.service gives"},
		{"a unit by its name elsewhere", asUnit, func(root fstest.MapFS) {
			root["etc/systemd/system/composefs-setup-root.service"] = link("../../../" + unitFile)
		}, "", "", ""},
		{"another name with a backslash", asUnit, func(root fstest.MapFS) {
			root[`etc/systemd/system/evil\x2dalias.service`] = link("/" + unitFile)
		}, "", "unit-alias", `evil\x2dalias.service gives composefs-setup-root.service another name`},
		{"another name of the switch", asUnit, func(root fstest.MapFS) {
			root["etc/systemd/system/x.service"] = link("/usr/lib/systemd/system/initrd-switch-root.service")
		}, "", "unit-alias", "gives initrd-switch-root.service another name"},
		{"two drop-ins of one name", asUnit, func(root fstest.MapFS) {
			put(unitFile+".d/x.conf", "[Unit]\n")(root)
			put("etc/systemd/system/composefs-.service.d/x.conf", "[Unit]\nConditionPathExists=/absent\n")(root)
		}, "", "unit-skipped", "composefs-.service.d/x.conf"},
		{"a gate and another drop-in of its name", asUnit, put("etc/systemd/system/initrd-.service.d/"+path.Base(gate), "[Unit]\n"), "", "?gate", "nothing in the initrd checks"},
		{"the usual link of /lib", asUnit, func(root fstest.MapFS) { root["lib"] = link("usr/lib") }, "", "", ""},
		{"a command with the program as its argument", asUnit, func(root fstest.MapFS) {
			root["bin/true "+program] = root[program]
			put(unitFile+".d/x.conf", "[Service]\nExecStart=\nExecStart=/bin/true "+program+"\n")(root)
		}, "", "unit-command", "/bin/true"},
		{"a command whose refusal is overlooked", asUnit, func(root fstest.MapFS) {
			root["-"] = link(".")
			put(unitFile+".d/x.conf", "[Service]\nExecStart=\nExecStart=-/"+program+"\n")(root)
		}, "", "unit-command", "-/usr"},
		{"a flag that is part of a name", asUnit, func(root fstest.MapFS) {
			root[program+" --help"] = root[program]
			put(unitFile+".d/x.conf", "[Service]\nExecStart=\nExecStart=/"+program+" --help\n")(root)
		}, "", "unit-command", "--help"},
		{"a section after a form feed", asUnit, put(unitFile+".d/x.conf", "[Unit]\n\f[Service]\nX-A=1\n"), "", "unit-text", `"\f[Service]"`},
		{"a section after a blank of Unicode", asUnit, put(unitFile+".d/x.conf", "[Unit]\n\u00a0[Service]\n"), "", "unit-text", `"\u00a0[Service]"`},
		{"a condition that systemd doesn't know", asUnit, put(unitFile+".d/x.conf", "[Unit]\nConditionPathExists=/absent\nConditionFoo=\n"), "", "unit-skipped", "/absent"},
		{"a mark within a file", asUnit, put(unitFile+".d/x.conf", "[Unit]\n\ufeffConditionPathExists=/absent\n"), "", "unit-text", `"\ufeffConditionPathExists=/absent"`},
		{"a drop-in for all services, as Fedora has it", asUnit, put("usr/lib/systemd/system/service.d/10-timeout-abort.conf", "# This file is part of the systemd package.\n# See https://fedoraproject.org/wiki/Changes/Shorter_Shutdown_Timer.\n\n[Service]\nTimeoutStopFailureMode=abort\n"), "", "", ""},
		{"a unit that leads nowhere", asUnit, func(root fstest.MapFS) {
			root["etc/systemd/system/composefs-setup-root.service"] = link("/sysroot/x.service")
		}, "", "unit", "nothing starts"},

		{"a policy that is a link", asInit, func(root fstest.MapFS) {
			root["usr/lib/x.toml"], root[configPath] = root[configPath], link("../x.toml")
		}, "", "policy", "symbolic link to"},
		{"a policy that leads out of the initrd", asUnit, func(root fstest.MapFS) { root[configPath] = link("/sysroot/policy.toml") }, "", "policy", `symbolic link to "/sysroot/policy.toml"`},
		{"keys that lead out of the initrd", asUnit, func(root fstest.MapFS) {
			delete(root, keyFile)
			root["usr/lib/composefs/keys.d"] = link("/sysroot/keys")
		}, "", "keys", "symbolic link to"},
		{"a key that is a link", asInit, func(root fstest.MapFS) { root["usr/lib/x.pub"] = root[keyFile]; root[keyFile] = link("/usr/lib/x.pub") }, "", "keys", "ours.pub is a symbolic link"},
		{"a link above the policy", asUnit, func(root fstest.MapFS) { root["lib"] = link("usr/lib") }, "", "", ""},

		{"no erofs", asInit, without(module("erofs")), "", "erofs", "module erofs"},
		{"no overlay", asInit, without(module("overlay")), "", "overlay", "module overlay"},
		{"no file system", asInit, func(root fstest.MapFS) { without(module("ext4"))(root); delete(root, listFile) }, "", "root-fs", "ext4, xfs, btrfs"},
		{"another file system", asInit, nil, goodLine + " rootfstype=xfs", "root-fs", "module xfs"},
		{"no driver for any disk", asInit, without(module("virtio_blk")), "", "root-device", "virtio_blk"},
		{"no driver for this disk", asInit, nil, "root=/dev/nvme0n1p2 ro " + argument, "root-device", "nvme"},
		{"a driver for this disk", asUnit, nil, "root=/dev/nvme0n1p2 ro " + argument, "", ""},
		{"half a driver", asInit, put(modulesDir+"modules.builtin", ""), "root=/dev/vda2 ro " + argument, "root-device", "virtio_pci"},
		{"what the driver needs", asUnit, without(module("nvme-core")), "root=/dev/nvme0n1p2 ro " + argument, "root-device", "needs kernel/nvme-core.ko"},
		{"what the list names", asInit, without(module("jbd2")), "", "module-list", "jbd2.ko"},
		{"built in", asInit, func(root fstest.MapFS) {
			delete(root, module("erofs"))
			root[modulesDir+"modules.builtin"] = text("kernel/fs/erofs/erofs.ko\n")
		}, "", "", ""},
		{"compressed", asUnit, func(root fstest.MapFS) {
			root[module("erofs")+".xz"] = root[module("erofs")]
			delete(root, module("erofs"))
		}, "", "", ""},
		{"nobody knows what is built in", asInit, without(module("erofs"), modulesDir+"modules.builtin"), "", "?erofs", "may or may not be built"},
		{"modules of another kernel", asInit, func(root fstest.MapFS) {
			for name, file := range root {
				if rest, ok := strings.CutPrefix(name, modulesDir); ok {
					root["usr/lib/modules/6.1.0/"+rest] = file
					delete(root, name)
				}
			}
			delete(root, listFile)
		}, "", "kernel", "the kernel is 6.12.1-test, the modules in the initrd are for 6.1.0"},

		{"modules made for another kernel", asInit, put(module("erofs"), "\x7fELF\x00vermagic=6.1.0-test SMP preempt mod_unload \x00"), "", "module-version", "erofs was made for kernel 6.1.0-test"},
		{"modules made for this kernel", asInit, put(module("erofs"), "\x7fELF\x00vermagic=6.12.1-test SMP preempt mod_unload \x00"), "", "", ""},

		{"extensions, where /etc keeps nothing", asInit, put(configPath, "[etc]\ntransient = true\n[verify]\nextensions = \"allow\"\n"), "", "?extensions", "/var/lib/extensions"},
		{"extensions, where nothing is kept", asInit, put(configPath, "[etc]\ntransient = true\n[var]\nmount = \"volatile\"\n[verify]\nextensions = \"allow\"\n"), "", "", ""},
		{"bad policy", asInit, put(configPath, "[verify]\nminimum = 3\n"), "", "policy", "line 2"},
		{"bad key", asInit, put(keyFile, "x"), "", "keys", "ours.pub"},
		{"no key where one is required", asInit, func(root fstest.MapFS) {
			delete(root, keyFile)
			root[configPath] = text("[verify]\nsignature = \"require\"\n")
		}, "", "keys", "no *.pub key"},
		{"keys of another place", asInit, put(configPath, "[verify]\nkeys = \"/etc/keys\"\n"), "", "keys", "/etc/keys"},
		{"no key, and a policy about seals", asInit, without(keyFile), "", "keys", "minimum-sequence, which is about seals"},
		{"no key", asInit, func(root fstest.MapFS) { delete(root, keyFile); delete(root, configPath) }, "", "?no-seal", "no seal is asked for"},
		{"no fs-verity", asInit, put(configPath, "[verify]\nfs-verity = \"off\"\n"), "", "?fs-verity", "isn't verified"},

		{"no image named", asInit, nil, "root=PARTLABEL=root ro", "cmdline", "names no image"},
		{"image named badly", asInit, nil, "root=PARTLABEL=root ro composefs=0f", "cmdline", "64 or 128 hex digits"},
		{"image without verity", asInit, nil, "root=PARTLABEL=root ro composefs=?" + hex, "permitted", "to do without fs-verity"},
		{"ref that needs a seal", asInit, func(root fstest.MapFS) { root[configPath] = text("[verify]\nsignature = \"optional\"\n") }, "root=PARTLABEL=root ro composefs.ref=a", "permitted", "require"},
		{"ref", asInit, nil, "root=PARTLABEL=root ro composefs.ref=a", "", ""},
		{"root that means nothing", asInit, nil, "root=live ro " + argument, "root", "root=live"},
		{"root by its type", asInit, nil, "ro " + argument, "?root", "the type for amd64"},
		{"root by its type, without who looks for it", asUnit, nil, "ro " + argument, "root", "systemd-gpt-auto-generator"},
		{"root by its type, with who looks for it", asUnit, put("usr/lib/systemd/system-generators/systemd-gpt-auto-generator", ""), "ro " + argument, "", ""},
		{"no root for a hook", asHook, nil, "ro " + argument, "root", "no root="},
		{"the image twice", asInit, nil, goodLine + " " + argument, "?cmdline-twice", hex + " twice"},
		{"two images", asInit, nil, goodLine + " " + strings.Replace(argument, "0f", "0e", 1), "?cmdline-twice", "names two images, " + hex},
		{"one image in two formats", asInit, nil, goodLine + " " + strings.NewReplacer("v1", "v2", "0f", "0e").Replace(argument), "", ""},
		{"neither ro nor rw", asInit, nil, "root=PARTLABEL=root " + argument, "?ro", "neither ro nor rw"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := test.root(t, binary)
			if test.change != nil {
				test.change(root)
			}
			if test.line == "" {
				test.line = goodLine
			}
			wantOne(t, examine(root, test.line), test.want, test.says)
		})
	}
}

// wantOne wants one finding, of this check and with these words, or none.
func wantOne(t *testing.T, r *doctor.Report, want, says string) {
	t.Helper()
	var found []string
	for _, f := range r.Findings {
		name := f.Check
		if !f.Stops {
			name = "?" + name
		}
		found = append(found, name)
		if f.Kind == "" || strings.Contains(f.String(), "\n") {
			t.Errorf("want one line of some kind, found %q", f)
		}
	}
	if want == "" && len(found) > 0 || want != "" && !slices.Equal(found, []string{want}) || !strings.Contains(fmt.Sprint(r.Findings), says) {
		t.Errorf("found %q, want %q that says %q:\n%s", found, want, says, r)
	}
	if r.Stops() != (want != "" && want[0] != '?') {
		t.Errorf("stops: %v", r.Stops())
	}
}

// What overlayfs can't do yet stops the boot, as far as the policy asks for it. Red Hat
// has brought it to older numbers.
func TestOldKernelsAreTooOldForThePolicy(t *testing.T) {
	binary := setupRoot(t, "GOARCH=amd64")
	const off = "[verify]\nfs-verity = \"off\"\n"
	for _, test := range []struct{ release, policy, arguments, want string }{
		{"6.1.0-30-amd64", "", "", "kernel-version"},
		{"6.5.9", "", "", "kernel-version"},
		{"6.6", "", "", ""},
		{"7.0-rc1+deb14", "", "", ""},
		{"6.1.0", off, "", "kernel-version"},
		{"6.5.0", off, "", ""},
		{"6.5.0", "[verify]\nallow-insecure = true\n", "composefs=?" + hex, ""},
		{"5.14.0-427.el9.x86_64", "", "", "?kernel-version"},
		{"odd", "", "", ""},
		{"", "", "", "kernel-version"}, // it isn't said, but the modules are for 6.1
	} {
		t.Run(test.release+test.policy+test.arguments, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, file := range asUnit(t, binary) {
				version := test.release
				if version == "" {
					version = "6.1.0"
				}
				root[strings.Replace(name, "6.12.1-test", version, 1)] = file
			}
			root[configPath] = text(test.policy)
			line, err := bootcfg.ParseCmdline(test.arguments)
			if err != nil {
				t.Fatal(err)
			}
			i := &doctor.Initrd{Root: root, Kernel: test.release}
			_, trust := i.Examine(&doctor.Report{})
			r := &doctor.Report{}
			i.CheckKernel(r, trust, line)
			wantOne(t, r, test.want, "")
		})
	}
}

// Kernels before 6.12 mount images by way of a loop device.
func TestOldKernelsNeedALoopDevice(t *testing.T) {
	binary := setupRoot(t, "GOARCH=amd64")
	for version, want := range map[string]string{"6.11.10-x": "loop", "6.12.0": "", "6.12-rc1": "", "7.0+deb14": "", "5.15": "loop", "odd": ""} {
		root := fstest.MapFS{}
		for name, file := range asUnit(t, binary) {
			root[strings.Replace(name, "6.12.1-test", version, 1)] = file
		}
		r := &doctor.Report{}
		(&doctor.Initrd{Root: root, Kernel: version}).Modules(r, doctor.Root{Type: "ext4"})
		wantOne(t, r, want, want)
	}
}
