package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"unsafe"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxtpm"
)

// service is a program that an attacker has put where nothing is verified.
const service = "/etc/service"

// Secrets that the TPM keeps: on first use, each is sealed to the present values of PCR
// 7, 11 and 15.
const (
	initramfsSecret tpm2.TPMHandle = 0x81000001
	systemSecret    tpm2.TPMHandle = 0x81000002
)

// beInitramfs runs in the initramfs before composefs-setup-root, is as trusted as it,
// and unlocks the disks.
func beInitramfs() {
	mounts := []string{"proc", "sysfs", "devtmpfs"}
	places := []string{"/proc", "/sys", "/dev"}
	for i, place := range places {
		_ = os.MkdirAll(place, 0o755)
		_ = syscall.Mount(mounts[i], place, mounts[i], 0, "")
	}
	loadModules()
	say("initramfs secret", result("released", atHome(initramfsSecret)))
	for _, place := range places {
		_ = syscall.Unmount(place, syscall.MNT_DETACH)
	}
	say("setup-root", fmt.Sprint(syscall.Exec("/setup-root", os.Args, os.Environ())))
}

// loadModules loads what composefs-setup-root will load.
func loadModules() {
	list, _ := os.ReadFile("/usr/lib/composefs/modules")
	for line := range strings.Lines(string(list)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		if f, err := os.Open(name); err == nil {
			const finitModule = 313 // on x86-64
			empty := []byte{0}
			_, _, _ = syscall.Syscall(finitModule, f.Fd(), uintptr(unsafe.Pointer(&empty[0])), 0)
			f.Close()
		}
	}
}

// tellSecrets asks for both secrets.
func tellSecrets(who string) {
	if _, err := os.Stat("/dev/tpmrm0"); err != nil {
		return
	}
	say(who+" asks for the initramfs secret", result("released", withTPM(func(t transport.TPM) error { return unseal(t, initramfsSecret) })))
	ask := atHome
	if who != "system" {
		ask = func(h tpm2.TPMHandle) error {
			return withTPM(func(t transport.TPM) error { return unseal(t, h) })
		}
	}
	say(who+" asks for the system secret", result("released", ask(systemSecret)))
}

// runService runs the service in /etc, as an init does.
func runService() {
	if _, err := os.Stat(service); err != nil {
		return
	}
	c := exec.Command(service)
	c.Stdout, c.Stderr = os.Stdout, os.Stdout
	say("service", result("ran", c.Run()))
}

// atHome unseals a secret, which it seals the first time.
func atHome(handle tpm2.TPMHandle) error {
	return withTPM(func(t transport.TPM) error {
		if _, err := (tpm2.ReadPublic{ObjectHandle: handle}).Execute(t); err != nil {
			if err := seal(t, handle); err != nil {
				return err
			}
		}
		return unseal(t, handle)
	})
}

func withTPM(do func(transport.TPM) error) error {
	t, err := linuxtpm.Open("/dev/tpmrm0")
	if err != nil {
		return err
	}
	defer t.Close()
	return do(t)
}

var registers = tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
	{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(7, 11, 15)},
}}

func seal(t transport.TPM, handle tpm2.TPMHandle) error {
	session, end, err := tpm2.PolicySession(t, tpm2.TPMAlgSHA256, 16, tpm2.Trial())
	if err != nil {
		return err
	}
	defer func() { _ = end() }()
	if _, err := (tpm2.PolicyPCR{PolicySession: session.Handle(), Pcrs: registers}).Execute(t); err != nil {
		return err
	}
	policy, err := tpm2.PolicyGetDigest{PolicySession: session.Handle()}.Execute(t)
	if err != nil {
		return err
	}
	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	object, err := tpm2.CreateLoaded{
		ParentHandle: owner,
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: []byte("secret")}),
		}},
		InPublic: tpm2.New2BTemplate(&tpm2.TPMTPublic{
			Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256,
			ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, NoDA: true},
			AuthPolicy:       policy.PolicyDigest,
		}),
	}.Execute(t)
	if err != nil {
		return err
	}
	_, err = tpm2.EvictControl{
		Auth: owner, ObjectHandle: &tpm2.NamedHandle{Handle: object.ObjectHandle, Name: object.Name}, PersistentHandle: handle,
	}.Execute(t)
	_, flushed := tpm2.FlushContext{FlushHandle: object.ObjectHandle}.Execute(t)
	return errors.Join(err, flushed)
}

func unseal(t transport.TPM, handle tpm2.TPMHandle) error {
	public, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(t)
	if err != nil {
		return err
	}
	session, end, err := tpm2.PolicySession(t, tpm2.TPMAlgSHA256, 16)
	if err != nil {
		return err
	}
	defer func() { _ = end() }()
	if _, err := (tpm2.PolicyPCR{PolicySession: session.Handle(), Pcrs: registers}).Execute(t); err != nil {
		return err
	}
	out, err := tpm2.Unseal{ItemHandle: tpm2.AuthHandle{Handle: handle, Name: public.Name, Auth: session}}.Execute(t)
	if err == nil && string(out.OutData.Buffer) != "secret" {
		err = fmt.Errorf("found %q", out.OutData.Buffer)
	}
	return err
}
