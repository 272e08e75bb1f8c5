#!/bin/bash
# build.sh ROOT OUTPUT
#
# Lets a sealed image travel through a registry: what a build machine pushes there, another
# one takes and makes a disk of, which boots with UEFI firmware. REGISTRY is where the image
# goes, such as docker://HOST/NAME:TAG; by default it is an OCI layout in OUTPUT.
set -euo pipefail
(($# == 2)) || { echo "usage: build.sh ROOT OUTPUT" >&2; exit 2; }
root=$1 out=$2
mkimage=${MKIMAGE:-mkimage}
setup_root=${SETUP_ROOT:-/usr/lib/composefs/composefs-setup-root}
registry=${REGISTRY:-oci:$out/registry:stable}
mkdir -p "$out"
exec {result}>&1 >&2 # only the digest goes to standard output

# The key that signs images. Only the build machine has image.key.
[[ -e $out/image.key ]] || "$mkimage" key new "$out/image"

# The build machine: the image, its objects and its seal, and all of it into the registry.
"$mkimage" build --repo "$out/build" --boot --ref stable \
	--seal "$out/image.key" --sequence "${SEQUENCE:-1}" "$root"
"$mkimage" oci push --repo "$out/build" --sealed --bootable \
	--platform "${PLATFORM:-linux/amd64}" stable "$registry"

# The other machine: it has image.pub, and believes nothing else. What its repository has
# already isn't fetched again.
digest=$("$mkimage" oci pull --repo "$out/repo" --keys "$out/image.pub" --bootable \
	--platform "${PLATFORM:-linux/amd64}" --ref stable "$registry")
"$mkimage" verify --repo "$out/repo" --keys "$out/image.pub" --objects stable

# What boots it: an initrd with the key, in a UKI that boots any image that the key has
# sealed and that the ref points to. So an update is a pull.
modules=$(echo "$root"/usr/lib/modules/*)
release=${modules##*/}
"${BASH_SOURCE[0]%/*}/../uki/keys.sh" "$out/keys"
"$mkimage" initrd --setup-root "$setup_root" --modules "$modules" \
	--keys "$out/image.pub" --output "$out/initrd.img"
"$mkimage" uki build --stub "${STUB:-$root/usr/lib/systemd/boot/efi/linuxx64.efi.stub}" \
	--linux "$root/boot/vmlinuz-$release" --initrd "$out/initrd.img" \
	--os-release "$root/usr/lib/os-release" --image composefs.ref=stable \
	--cmdline "root=PARTLABEL=root ro ${CMDLINE:-console=ttyS0}" \
	--sb-key "$out/keys/db.key" --sb-cert "$out/keys/db.crt" --output "$out/linux.efi"
"$mkimage" disk --repo "$out/repo" --image stable --uki "$out/linux.efi" \
	--output "$out/disk.img"

echo "$digest" >&"$result"
