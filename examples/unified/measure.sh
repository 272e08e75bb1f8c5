#!/bin/bash
# measure.sh ROOT UKI
#
# Runs inside the build: measures the root file system in ROOT, puts the digest on
# the command line of a UKI, and signs that. ROOT is only read. The UKI may then be
# laid into /boot of the same root: what is in there doesn't count for the digest.
#
# The key is $SB_KEY with the certificate $SB_CERT: files, or secrets of the build.
set -euo pipefail
(($# == 2)) || { echo "usage: measure.sh ROOT UKI" >&2; exit 2; }
root=$1 uki=$2
mkimage=${MKIMAGE:-mkimage}
setup_root=${SETUP_ROOT:-/usr/lib/composefs/composefs-setup-root}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The kernel that the root brings along.
modules=$(echo "$root"/usr/lib/modules/*)
release=${modules##*/}
linux=$modules/vmlinuz
[[ -e $linux ]] || linux=$root/boot/vmlinuz-$release

# Which image this root will be. The release of the boot transform must be the one
# that the machine uses; this one looks at nothing of /boot but its owner and mode.
digest=$("$mkimage" build --quiet --boot=composefs-rs-0.9.4 "$root")

# No key in the initrd: the signature of the UKI is what vouches for the digest.
"$mkimage" initrd --quiet --setup-root "$setup_root" --modules "$modules" --output "$work/initrd.img"

mkdir -p "$(dirname "$uki")"
"$mkimage" uki build --stub "${STUB:-$root/usr/lib/systemd/boot/efi/linuxx64.efi.stub}" \
	--linux "$linux" --initrd "$work/initrd.img" --os-release "$root/usr/lib/os-release" \
	--image "$digest" --cmdline "root=PARTLABEL=root ro ${CMDLINE:-console=ttyS0}" \
	--sb-key "$SB_KEY" --sb-cert "$SB_CERT" --output "$uki"
