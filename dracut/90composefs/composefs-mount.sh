#!/bin/sh
# Mount hook for an initramfs without systemd: mounts the physical root, unless it is
# mounted, and has composefs-setup-root put the image in its place.

# shellcheck source=/dev/null
command -v getarg > /dev/null || . /lib/dracut-lib.sh

composefs_program=/usr/lib/composefs/composefs-setup-root

# rootflags= and rootfstype= are in rflags and fstype by now.
# shellcheck disable=SC2154 # hookdir, root, rflags, fstype and NEWROOT are dracut's
composefs_mount() {
    # dracut's own hook reads scripts of the root that it mounts.
    rm -f -- "$hookdir"/mount/*-mount-root.sh
    if ! ismounted "$NEWROOT"; then
        # If root= isn't a block device, another hook knows how to mount it.
        [ -b "${root#block:}" ] || return 0
        mount -t "${fstype:-auto}" -o "${rflags:-defaults}" "${root#block:}" "$NEWROOT" ||
            die "composefs: can't mount ${root#block:} on $NEWROOT"
    fi
    "$composefs_program" --sysroot "$NEWROOT" ||
        die "composefs: boot refused, see the lines above"
}

# --verified succeeds when the root is verified, or when the policy doesn't require that. In
# the second case the program reports it for the root that another hook has mounted.
if ! "$composefs_program" --verified --sysroot "$NEWROOT" 2> /dev/null; then
    composefs_mount
elif ! [ -e /run/composefs/root ] && ismounted "$NEWROOT"; then
    "$composefs_program" --sysroot "$NEWROOT" || die "composefs: boot refused, see the lines above"
fi
