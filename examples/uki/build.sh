#!/bin/bash
# build.sh ROOT OUTPUT
#
# Makes a disk from a root file system that boots with UEFI firmware and a unified
# kernel image signed for Secure Boot. A build pipeline would run this with keys that it
# already has.
set -euo pipefail
(($# == 2)) || { echo "usage: build.sh ROOT OUTPUT" >&2; exit 2; }
root=$1 out=$2
mkimage=${MKIMAGE:-mkimage}
setup_root=${SETUP_ROOT:-/usr/lib/composefs/composefs-setup-root}
mkdir -p "$out"
exec {result}>&1 >&2 # only the digest goes to standard output

# The kernel in the root file system.
modules=$(echo "$root"/usr/lib/modules/*)
release=${modules##*/}

# The key that signs images. Make it once and keep it safe; the machine gets only image.pub.
[[ -e $out/image.key ]] || "$mkimage" key new "$out/image"

# The keys that sign what the firmware starts. The machine gets only the certificates.
"${BASH_SOURCE[0]%/*}/keys.sh" "$out/keys"

# The image, its objects and its seal.
digest=$("$mkimage" build --repo "$out/repo" --boot \
	--seal "$out/image.key" --sequence "${SEQUENCE:-1}" "$root")

# The program that verifies the image, with the key and the modules that it needs.
"$mkimage" initrd --setup-root "$setup_root" --modules "$modules" \
	--keys "$out/image.pub" --output "$out/initrd.img"

# Kernel, initrd and digest in one file, all of which the signature covers.
"$mkimage" uki build --stub "${STUB:-$root/usr/lib/systemd/boot/efi/linuxx64.efi.stub}" \
	--linux "$root/boot/vmlinuz-$release" --initrd "$out/initrd.img" \
	--os-release "$root/usr/lib/os-release" --image "$digest" \
	--cmdline "root=PARTLABEL=root ro ${CMDLINE:-console=ttyS0}" \
	--sb-key "$out/keys/db.key" --sb-cert "$out/keys/db.crt" --output "$out/linux.efi"

# Check it as the firmware will: who signed it, and what the signature covers.
"$mkimage" uki verify --sb-cert "$out/keys/db.crt" "$out/linux.efi"

# EFI system partition and root partition, with fs-verity on for every object.
"$mkimage" disk --repo "$out/repo" --image "$digest" --uki "$out/linux.efi" \
	--output "$out/disk.img"

echo "$digest" >&"$result"
