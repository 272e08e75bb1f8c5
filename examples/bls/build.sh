#!/bin/bash
# build.sh ROOT OUTPUT
#
# Makes a disk from a root file system that boots with systemd-boot and a Boot Loader
# Specification entry (type 1): kernel, initrd and command line are separate files on
# the EFI system partition. A build pipeline would run this with a key that it already
# has.
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

# The key that signs images. The command line in the entry is unsigned: only the seal
# keeps the machine from booting somebody else's image.
[[ -e $out/image.key ]] || "$mkimage" key new "$out/image"

# The image, its objects and its seal.
digest=$("$mkimage" build --repo "$out/repo" --boot \
	--seal "$out/image.key" --sequence "${SEQUENCE:-1}" "$root")

# The program that verifies the image, with the key and the modules that it needs.
"$mkimage" initrd --setup-root "$setup_root" --modules "$modules" \
	--keys "$out/image.pub" --output "$out/initrd.img"

# The entry. It is named after the image, so that the next image gets its own entry.
cat >"$out/entry.conf" <<ENTRY
title Sealed $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' "$root/usr/lib/os-release")
version $release
sort-key composefs
linux /composefs/$release/linux
initrd /composefs/$release/initrd.img
options composefs.digest=v1-sha256-12:$digest root=PARTLABEL=root ro ${CMDLINE:-console=ttyS0}
ENTRY
printf 'timeout 0\n' >"$out/loader.conf"

# EFI system partition and root partition, with fs-verity on for every object.
"$mkimage" disk --repo "$out/repo" --image "$digest" \
	--esp "EFI/BOOT/BOOTX64.EFI=${LOADER:-$root/usr/lib/systemd/boot/efi/systemd-bootx64.efi}" \
	--esp "loader/loader.conf=$out/loader.conf" \
	--esp "loader/entries/$digest.conf=$out/entry.conf" \
	--esp "composefs/$release/linux=$root/boot/vmlinuz-$release" \
	--esp "composefs/$release/initrd.img=$out/initrd.img" \
	--output "$out/disk.img"

echo "$digest" >&"$result"
