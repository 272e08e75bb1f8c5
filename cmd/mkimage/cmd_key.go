package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/sign"
)

func newKey(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key COMMAND",
		Short: "make and show the keys that seal images",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeyNew(u), newKeyShow(u))
	return cmd
}

// keyPair is what new reports.
type keyPair struct {
	ID      sign.KeyID `json:"id"`
	Name    string     `json:"name"`
	Public  string     `json:"public"`
	Private string     `json:"private"`
}

func newKeyNew(u *ui) *cobra.Command {
	var passwordFile string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "make a key pair: NAME.key seals, NAME.pub verifies",
		Long: `New makes an Ed25519 key pair in minisign's format: NAME.key, which seals images
and must stay secret, and NAME.pub, which goes into the initramfs of each machine
that is to boot them. Existing files are never overwritten.

minisign can use both. With --password-file the private key is encrypted.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			password, err := readPassword(passwordFile)
			if err != nil {
				return err
			}
			key, err := sign.NewKey()
			if err != nil {
				return fmt.Errorf("make key: %w", err)
			}
			return saveKey(u, args[0], key, password)
		},
	}
	cmd.Flags().StringVar(&passwordFile, "password-file", "", "encrypt the private key with the first line of `FILE`")
	return cmd
}

func saveKey(u *ui, name string, key sign.PrivateKey, password string) error {
	public := key.Public(filepath.Base(name))
	text, err := key.Text(password)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	if err := createFile(name+".key", text, 0o600); err != nil {
		return err
	}
	if err := createFile(name+".pub", public.Text(), 0o644); err != nil {
		return errors.Join(err, os.Remove(name+".key"))
	}
	return u.result(keyPair{key.ID(), public.Name, name + ".pub", name + ".key"},
		fmt.Sprintf("key %s: %s.key seals, %s.pub verifies", key.ID(), name, name))
}

// createFile makes a file that wasn't there.
func createFile(name string, content []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w; choose another name: a key that is overwritten can never seal again", err)
	}
	if err != nil {
		return refusedAt(inOutput, err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(refusedAt(inOutput, err), os.Remove(name)) // half a key would be in the way of the next attempt
	}
	return nil
}

// keyFile is what show tells of a file.
type keyFile struct {
	ID   sign.KeyID `json:"id,omitzero"` // of an encrypted one it isn't known without the password
	Name string     `json:"name"`
	Kind string     `json:"kind"` // "public", "private" or "encrypted private"
	File string     `json:"file"`
}

func (k keyFile) String() string {
	if k.ID == 0 {
		return fmt.Sprintf("%s: %s key, called %s; its ID takes the password: --password-file", k.File, k.Kind, k.Name)
	}
	return fmt.Sprintf("%s: %s key %s, called %s", k.File, k.Kind, k.ID, k.Name)
}

func newKeyShow(u *ui) *cobra.Command {
	var o sealOptions
	cmd := &cobra.Command{
		Use:   "show FILE...",
		Short: "show the IDs of keys, public or private",
		Long: `Show prints the ID and the name under which a key appears in signatures, boot.json and
messages, and the kind of the file. The ID of an encrypted private key is encrypted too,
so showing it needs --password-file.`,
		Example: "  mkimage key show mykey.pub /etc/composefs/keys.d/*.pub",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := readPassword(o.passwordFile); err != nil {
				return err
			}
			var keys []keyFile
			var lines []string
			for _, name := range args {
				key, err := o.show(u, name)
				if err != nil {
					return err
				}
				keys, lines = append(keys, key), append(lines, key.String())
			}
			return u.result(keys, strings.Join(lines, "\n"))
		},
	}
	cmd.Flags().StringVar(&o.passwordFile, "password-file", "", "the first line of `FILE` decrypts the private keys")
	return cmd
}

// show tells of a file what it is: a key of either kind.
func (o *sealOptions) show(u *ui, file string) (keyFile, error) {
	text, err := readSmall(file, sign.MaxKeySize)
	if err != nil {
		return keyFile{}, err
	}
	base := filepath.Base(file)
	public, err := sign.ParseKey(strings.TrimSuffix(base, ".pub"), text)
	if err == nil {
		return keyFile{public.ID, public.Name, "public", file}, nil
	}
	shown := keyFile{Name: strings.TrimSuffix(base, ".key"), Kind: "private", File: file}
	if sign.IsEncrypted(text) {
		shown.Kind = "encrypted private"
		if o.passwordFile == "" {
			return shown, nil
		}
	}
	key, privateErr := o.openKey(u, file)
	if privateErr != nil && errors.Is(privateErr, sign.ErrMalformed) && !strings.Contains(base, ".key") {
		return shown, fmt.Errorf("read key %s: %w", file, err)
	}
	shown.ID = key.ID()
	return shown, privateErr
}

func loadPublicKey(name string) (sign.Key, error) {
	text, err := readKey(name, filekind.PublicKey)
	if err != nil {
		return sign.Key{}, err
	}
	key, err := sign.ParseKey(strings.TrimSuffix(filepath.Base(name), ".pub"), text)
	if err != nil {
		return key, fmt.Errorf("read key %s: %w", name, err)
	}
	return key, nil
}

// loadKeyring reads the public keys of files and of directories.
func loadKeyring(names []string) (sign.Keyring, error) {
	return loadKeys(names, func(dir string) (sign.Keyring, error) {
		keys, err := sign.LoadKeyring(osfile.DirFS(dir), ".")
		if err != nil {
			err = fmt.Errorf("%s: %w", dir, err)
		}
		return keys, err
	})
}

func loadKeys(names []string, load func(dir string) (sign.Keyring, error)) (sign.Keyring, error) {
	var all sign.Keyring
	for _, name := range names {
		if st, err := os.Stat(name); err == nil && st.IsDir() || err != nil && !strings.HasSuffix(name, ".pub") {
			keys, err := load(name)
			if err != nil {
				return nil, err
			}
			if err := checkKeyFiles(name); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			all = append(all, keys...)
			continue
		}
		key, err := loadPublicKey(name)
		if err != nil {
			return nil, err
		}
		all = append(all, key)
	}
	return all, nil
}

// checkKeyFiles refuses what the parser of public keys takes and no seal can be by.
func checkKeyFiles(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if err == nil && strings.HasSuffix(e.Name(), ".pub") {
			_, err = readKey(filepath.Join(dir, e.Name()), filekind.PublicKey)
		}
	}
	return err
}
