#!/bin/sh
# Mount hook for an initramfs without systemd: mounts the physical root, then has
# composefs-setup-root put the image in its place.

# shellcheck source=/dev/null
command -v getarg > /dev/null || . /lib/dracut-lib.sh

composefs_mount() {
    # rootflags= and rootfstype= are in rflags and fstype by now.
    # shellcheck disable=SC2154 # root, rflags, fstype and NEWROOT are dracut's
    if ! ismounted "$NEWROOT"; then
        mount -t "${fstype:-auto}" -o "${rflags:-defaults}" "${root#block:}" "$NEWROOT" ||
            die "composefs: can't mount ${root#block:} on $NEWROOT"
    fi
    /usr/lib/composefs/composefs-setup-root --sysroot "$NEWROOT" ||
        die "composefs: boot refused, see the lines above"
}

if getarg composefs= > /dev/null || getarg composefs.digest= > /dev/null || getarg composefs.ref= > /dev/null; then
    # Until the device is there dracut calls again.
    case $root in
        block:*) [ -b "${root#block:}" ] && composefs_mount ;;
    esac
fi
