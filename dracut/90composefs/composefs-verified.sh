#!/bin/sh
# The last hook before the root is switched, in an initramfs without systemd: dracut
# switches only to a verified root, whatever mounted it.

# shellcheck source=/dev/null
command -v getarg > /dev/null || . /lib/dracut-lib.sh

# shellcheck disable=SC2154 # NEWROOT is dracut's
composefs_said=$(/usr/lib/composefs/composefs-setup-root --verified --sysroot "$NEWROOT" 2>&1) ||
    die "$composefs_said"
