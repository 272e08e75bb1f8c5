#!/bin/bash
# dracut module for composefs-setup-root; dracut 059 to 112.

# Where the program, the policy and the keys are in the initramfs.
composefs_dir=/usr/lib/composefs
composefs_program=$composefs_dir/composefs-setup-root

# The program may be installed elsewhere on the system that builds the initramfs.
composefs_find() {
    local path
    for path in "$composefs_program" /usr/libexec/composefs-setup-root /usr/bin/composefs-setup-root /usr/sbin/composefs-setup-root; do
        if [[ -x ${dracutsysrootdir-}$path ]]; then
            echo "$path"
            return 0
        fi
    done
    return 1
}

check() {
    if ! composefs_find > /dev/null; then
        derror "composefs: $composefs_program is not installed"
        return 1
    fi
    # On a system that was booted with this module it is included by default, elsewhere
    # only on request.
    [[ -e /run/composefs/boot.json ]] && return 0
    return 255
}

depends() {
    echo rootfs-block
}

installkernel() {
    # hostonly would leave out modules that happen not to be in use while building.
    hostonly='' instmods erofs overlay loop
    # A firmware variable says which disk the boot loader came from.
    hostonly='' instmods -s efivarfs
    # For [measure] in the policy. A driver that is built in, or absent, is fine.
    hostonly='' instmods -s tpm_tis tpm_crb tpm_tis_spi tpm_ftpm_tee
}

# composefs_copy SOURCE TARGET installs a policy or a key. A link becomes the file that it
# points to, because composefs-setup-root refuses links.
# shellcheck disable=SC2154 # initdir is dracut's
composefs_copy() {
    inst_simple "$1" "$2" || return
    if [[ -L $initdir$2 ]]; then
        rm -f -- "$initdir$2"
        cp -L -- "${dracutsysrootdir-}$1" "$initdir$2"
    fi
}

# The administrator's files in /etc take precedence over the vendor's in /usr.
# composefs_closed is set if there is to be no shell: if there is a policy or a key, and the
# policy doesn't allow one. A policy alone counts because it may name another directory of
# keys. This decides only what is left out here; at boot the program reads the policy.
composefs_install_policy() {
    local dir key found=0 policy='' shell=''
    for dir in /etc/composefs $composefs_dir; do
        if [[ -e ${dracutsysrootdir-}$dir/setup-root-conf.toml ]]; then
            composefs_copy "$dir/setup-root-conf.toml" $composefs_dir/setup-root-conf.toml
            policy=1
            grep -q '^[[:space:]]*shell[[:space:]]*=[[:space:]]*.allow' "${dracutsysrootdir-}$dir/setup-root-conf.toml" && shell=allow
            break
        fi
    done
    for dir in /etc/composefs/keys.d $composefs_dir/keys.d; do
        for key in "${dracutsysrootdir-}$dir"/*.pub; do
            [[ -e $key ]] || continue
            composefs_copy "${key#"${dracutsysrootdir-}"}" "$composefs_dir/keys.d/${key##*/}"
            found=1
        done
    done
    composefs_closed=
    if [[ ($found == 1 || $policy) && ! $shell ]]; then
        composefs_closed=1
    fi
    if [[ $found == 0 ]]; then
        dwarn "composefs: no key in /etc/composefs/keys.d or $composefs_dir/keys.d: signatures of images will not be checked unless the policy requires them"
    fi
}

# Units of dracut and systemd that give a shell or a login: rd.systemd.unit= starts any
# that exists, and generators or other modules may add them. The breakpoints are for
# rd.systemd.break=.
composefs_shells=(
    emergency rescue dracut-emergency debug-shell
    breakpoint-pre-udev breakpoint-pre-basic breakpoint-pre-mount breakpoint-pre-switch-root
    console-getty getty@ serial-getty@ container-getty@ console-shell
)

# Generators that start, mask or execute whatever the command line or credentials say,
# which may be unsigned.
composefs_generators=(systemd-debug-generator systemd-run-generator)

install() {
    local program
    program=$(composefs_find) || return 1
    inst_simple "$program" $composefs_program
    composefs_install_policy
    if dracut_module_included systemd; then
        composefs_install_units
    else
        composefs_install_hooks
    fi
}

# shellcheck disable=SC2154 # moddir and initdir are dracut's
composefs_install_units() {
    local unit=composefs-setup-root.service units target=initrd-root-fs.target kind shell
    # Not systemdsystemconfdir: dracut 109 and later don't set it.
    units=${systemdsystemunitdir:-/usr/lib/systemd/system}
    inst_simple "$moddir/$unit" "$units/$unit"
    # wants pulls the unit in; requires keeps a refused boot from going on without it.
    for kind in wants requires; do
        mkdir -p "$initdir$units/$target.$kind"
        ln_r "$units/$unit" "$units/$target.$kind/$unit"
    done
    inst_simple "$moddir/composefs-switch-root.conf" "$units/initrd-switch-root.service.d/composefs.conf"
    for shell in "${composefs_shells[@]}"; do
        inst_simple "$moddir/composefs-shell.conf" "$units/$shell.service.d/composefs.conf"
    done
    if [[ $composefs_closed ]]; then
        rm -f -- "${composefs_generators[@]/#/$initdir${systemdutildir:-/usr/lib/systemd}/system-generators/}"
    fi
    # At shutdown dracut unpacks the initramfs again and runs its hooks, for rd.break=shutdown.
    inst_hook shutdown-emergency 00 "$moddir/composefs-shell.sh"
    # This replaces the link to systemd; see composefs.conf.
    if [[ ${composefs_esp_files-} != yes ]]; then
        rm -f -- "$initdir/init"
        inst_multiple sh rm
        inst_simple "$moddir/composefs-init.sh" /init
    fi
}

# shellcheck disable=SC2154
composefs_install_hooks() {
    # dracut checks after rootfs-block's own hook (99) that the root looks like one, and the
    # physical root doesn't, so this must come before it.
    inst_hook mount 50 "$moddir/composefs-mount.sh"
    # Other modules mount other kinds of root (virtiofs, nfs, live, zfs) before or after that
    # hook. Here this is done, and the root can be verified.
    inst_hook pre-pivot 00 "$moddir/composefs-mount.sh"
    inst_hook cleanup 99 "$moddir/composefs-verified.sh"
    inst_hook emergency 00 "$moddir/composefs-shell.sh"
    inst_hook shutdown-emergency 00 "$moddir/composefs-shell.sh"
}
