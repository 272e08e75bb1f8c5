#!/bin/bash
# build.sh ROOT OUTPUT
#
# From a root file system to a disk that boots it with UEFI firmware, by a unified
# kernel image signed for Secure Boot: what a pipeline would run, with keys that it
# would already have.
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

# Who vouches for what firmware starts. The machine gets the certificates.
"${BASH_SOURCE[0]%/*}/keys.sh" "$out/keys"

# The image, its objects and its seal.
digest=$("$mkimage" build --repo "$out/repo" --boot \
	--seal "$out/image.key" --sequence "${SEQUENCE:-1}" "$root")

# The program that checks it, with the key and the modules that it needs.
"$mkimage" initrd --setup-root "$setup_root" --modules "$modules" \
	--keys "$out/image.pub" --output "$out/initrd.img"

# Kernel, initrd and the digest in one file, which the signature covers as a whole.
"$mkimage" uki build --stub "${STUB:-$root/usr/lib/systemd/boot/efi/linuxx64.efi.stub}" \
	--linux "$root/boot/vmlinuz-$release" --initrd "$out/initrd.img" \
	--os-release "$root/usr/lib/os-release" --image "$digest" \
	--cmdline "root=PARTLABEL=root ro ${CMDLINE:-console=ttyS0}" \
	--sb-key "$out/keys/db.key" --sb-cert "$out/keys/db.crt" --output "$out/linux.efi"

# As the firmware will see it: who signed it, and what that vouches for.
"$mkimage" uki verify --sb-cert "$out/keys/db.crt" "$out/linux.efi"

# EFI system partition and root partition, with fs-verity on for every object.
"$mkimage" disk --repo "$out/repo" --image "$digest" --uki "$out/linux.efi" \
	--output "$out/disk.img"

echo "$digest" >&"$result"
