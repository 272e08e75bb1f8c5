#!/bin/sh
# composefs-init: /init of an initramfs with systemd. systemd-stub puts credentials and
# extensions from next to the UKI on the EFI system partition into directories below
# /.extra. They are unsigned. systemd would use them before anything is verified, and a
# credential can define units. Files directly in /.extra are part of the UKI, and stay.
rm -rf /.extra/*/ || exit 1
exec /usr/lib/systemd/systemd "$@"
