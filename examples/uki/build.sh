#!/bin/bash
# build.sh ROOT OUTPUT
#
# From a root file system to a disk that boots it with UEFI firmware, by a unified
# kernel image: what a pipeline would run, with a key that it would already have.
set -euo pipefail
(($# == 2)) || { echo "usage: build.sh ROOT OUTPUT" >&2; exit 2; }
root=$1 out=$2
mkimage=${MKIMAGE:-mkimage}
setup_root=${SETUP_ROOT:-/usr/lib/composefs/composefs-setup-root}
mkdir -p "$out"
exec {result}>&1 >&2 # only the digest goes to standard output

# The kernel that the root brings along.
modules=$(echo "$root"/usr/lib/modules/*)
release=${modules##*/}

# Who vouches for images. Made once and kept safe; the machine gets only image.pub.
[[ -e $out/image.key ]] || "$mkimage" key new "$out/image"

# The image, its objects and its seal.
digest=$("$mkimage" build --repo "$out/repo" --boot \
	--seal "$out/image.key" --sequence "${SEQUENCE:-1}" "$root")

# The program that checks it, with the key and the modules that it needs.
"$mkimage" initrd --setup-root "$setup_root" --modules "$modules" \
	--keys "$out/image.pub" --output "$out/initrd.img"

# Kernel, initrd and the digest in one file, which Secure Boot can cover as a whole.
"$mkimage" uki build --stub "${STUB:-$root/usr/lib/systemd/boot/efi/linuxx64.efi.stub}" \
	--linux "$root/boot/vmlinuz-$release" --initrd "$out/initrd.img" \
	--os-release "$root/usr/lib/os-release" --image "$digest" \
	--cmdline "root=PARTLABEL=root ro ${CMDLINE:-console=ttyS0}" --output "$out/linux.efi"

# EFI system partition and root partition, with fs-verity on for every object.
"$mkimage" disk --repo "$out/repo" --image "$digest" --uki "$out/linux.efi" \
	--output "$out/disk.img"

echo "$digest" >&"$result"
