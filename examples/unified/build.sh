#!/bin/bash
# build.sh ROOT OUTPUT
#
# The stages of the Containerfile without a container: measures a copy of ROOT, puts the
# signed UKI into its /boot, and installs it like a machine that gets it from a registry.
# Prints the digest.
set -euo pipefail
(($# == 2)) || { echo "usage: build.sh ROOT OUTPUT" >&2; exit 2; }
root=$1 out=$2
here=${BASH_SOURCE[0]%/*}
mkimage=${MKIMAGE:-mkimage}
mkdir -p "$out"
exec {result}>&1 >&2 # only the digest goes to standard output

# Stage 1: the root file system, and the keys that sign its UKI.
final=$out/root
rm -rf "$final"
cp -a --reflink=auto "$root" "$final"
mkdir -p "$final/sysroot" # this release of the boot transform makes no mount points
"$here/../uki/keys.sh" "$out/keys"

# Stage 2: measured, put into a UKI, signed.
SB_KEY=$out/keys/db.key SB_CERT=$out/keys/db.crt "$here/measure.sh" "$final" "$out/linux.efi"

# Stage 3: what is shipped is the root with its own UKI inside.
mkdir -p "$final/boot/EFI/Linux"
mv "$out/linux.efi" "$final/boot/EFI/Linux/linux.efi"

# The machine: it makes the image from what was shipped, and accepts it only if the UKI
# is ours and pins this image.
uki=$final/boot/EFI/Linux/linux.efi
"$mkimage" uki verify --sb-cert "$out/keys/db.crt" "$uki"
digest=$("$mkimage" build --repo "$out/repo" --boot=composefs-rs-0.9.4 "$final")
"$mkimage" uki inspect "$uki" | grep -qx "image  *composefs.digest=v1-sha256-12:$digest" || {
	echo "build.sh: the image has the digest $digest, which is not the one in the UKI" >&2
	exit 1
}
"$mkimage" disk --repo "$out/repo" --image "$digest" --uki "$uki" --output "$out/disk.img"

echo "$digest" >&"$result"
