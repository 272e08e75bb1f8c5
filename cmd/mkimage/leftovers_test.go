package main

import "testing"

// Whatever happens to a command that writes a file, an old one of that name stays as it
// was, and what the command left is removed by the next one.
func TestAFailedOrKilledCommandHarmsNoOldFileAndLeavesNothing(t *testing.T) {
	model := userMachine(t)
	const disk = "mkimage disk --repo repo --image stable --uki linux.efi --output disk.img"
	for name, script := range map[string]string{
		"no source":                  "echo old >image; ! mkimage build --output image nosuch; grep old image",
		"a source that ends halfway": "echo old >image; tar -c -C root . | head -c 4096 >half.tar; ! mkimage build --strict --output image tar:half.tar; grep old image",
		"a source that turns bad":    "echo old >image; mkfifo root/etc/x && mkdir root/etc/y && tar -cf t.tar -C root . && printf junk | dd of=t.tar conv=notrunc bs=512 seek=2; ! mkimage build --output image tar:t.tar; grep old image",
		"no module":                  "echo old >initrd.img; ! " + rightInitrd + " --add-module nosuch; grep old initrd.img",
		"no image for a disk":        "echo old >disk.img; ! mkimage disk --repo repo --image nosuch --uki linux.efi --output disk.img; grep old disk.img",
		"an object is gone":          damage("rm $o") + "; echo old >disk.img; ! " + disk + "; grep old disk.img",
		"a killed build":             "touch .tmp-composefs-1-0 .tmp-1-0; mkimage build --output image root; test -e .tmp-1-0; rm .tmp-1-0",
		"a killed initrd":            "touch .tmp-composefs-1-0; " + rightInitrd,
		"a killed seal":              "touch repo/seals/.tmp-composefs-1-0; mkimage seal --repo repo --key mykey.key --sequence 7 stable",
		"a killed disk":              "mkdir .tmp-disk.img-123; truncate -s 1M .tmp-disk.img-123/image; " + disk,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if out, status := shell(t, ".", `cp -a --reflink=auto "$1/." "$2"`, model, dir); status != 0 {
				t.Fatal(out)
			}
			if out, status := shell(t, dir, script+"\nleft=$(find . -name '.tmp*' | head -n 1)\ntest -z \"$left\" || { echo left: $left >&2; exit 1; }"); status != 0 {
				t.Errorf("%s\nstatus %d: %s", script, status, out)
			}
		})
	}
}
