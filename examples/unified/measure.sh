#!/bin/bash
# measure.sh ROOT UKI
#
# Runs inside the build: measures the root file system in ROOT, puts the digest on
# the command line of a UKI, and signs the UKI. ROOT is only read. The UKI may then be
# put into /boot of the same root, whose content isn't part of the digest.
#
# The key is $SB_KEY with the certificate $SB_CERT: files, or secrets of the build.
set -euo pipefail
(($# == 2)) || { echo "usage: measure.sh ROOT UKI" >&2; exit 2; }
root=$1 uki=$2
mkimage=${MKIMAGE:-mkimage}
setup_root=${SETUP_ROOT:-/usr/lib/composefs/composefs-setup-root}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The kernel in the root file system.
modules=$(echo "$root"/usr/lib/modules/*)
release=${modules##*/}
linux=$modules/vmlinuz
[[ -e $linux ]] || linux=$root/boot/vmlinuz-$release

# The digest of the image that will be made from this root. The release of the boot
# transform must be the one that the machine uses. In this one, only the owner and the
# mode of /boot itself count.
digest=$("$mkimage" build --quiet --boot=composefs-rs-0.9.4 "$root")

# No key in the initrd: the signature of the UKI protects the digest.
"$mkimage" initrd --quiet --setup-root "$setup_root" --modules "$modules" --output "$work/initrd.img"

mkdir -p "$(dirname "$uki")"
"$mkimage" uki build --stub "${STUB:-$root/usr/lib/systemd/boot/efi/linuxx64.efi.stub}" \
	--linux "$linux" --initrd "$work/initrd.img" --os-release "$root/usr/lib/os-release" \
	--image "$digest" --cmdline "root=PARTLABEL=root ro ${CMDLINE:-console=ttyS0}" \
	--sb-key "$SB_KEY" --sb-cert "$SB_CERT" --output "$uki"
