# make help says what there is. Everything that is built lies in build/; what is
# downloaded or takes minutes to make lies in ~/.cache/composefs-go, see CONTRIBUTING.md.
SHELL := /bin/bash
.DEFAULT_GOAL := build
BUILD := build
GO ?= go
export CGO_ENABLED := 0

# Programs of e2fsprogs, fdisk and others lie where the PATH of an ordinary user doesn't
# lead, and a container's root may have no HOME, which Go needs.
export PATH := $(PATH):/usr/sbin:/sbin
ifndef HOME
export HOME := $(shell echo ~)
endif

# The same flags in every place that builds what we ship: size and determinism.
SHIP := -trimpath -buildvcs=false -ldflags "-s -w"
# What is inlined makes the initramfs program 100 kB larger and a boot no faster: what
# takes time there, hashing, is assembly.
SMALL := -gcflags=all=-l

.PHONY: help setup build test test-unit coverage test-vm fresh demo run bench interop lint fuzz clean install
.PHONY: $(BUILD)/mkimage $(BUILD)/composefs-setup-root

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## install what building, testing and the demo need (apt; root or sudo)
	@scripts/setup

build: $(BUILD)/mkimage $(BUILD)/composefs-setup-root ## both programs, in build/

# Go knows better than make what is out of date.
$(BUILD)/mkimage:
	@$(GO) build $(SHIP) -o $@ ./cmd/mkimage
$(BUILD)/composefs-setup-root:
	@$(GO) build $(SHIP) $(SMALL) -o $@ ./cmd/composefs-setup-root

test: setup lint test-unit test-vm ## everything: cheap tests first, then the boots in QEMU

test-unit: build ## the tests that need no VM
	@export COMPOSEFS_TEST_KERNEL_ROOT=$$(scripts/kernel trixie) && set -x && $(GO) test ./...

coverage: ## what the tests run of the packages that verify; fails below 95 % (root)
	@scripts/coverage

test-vm: build ## boot real kernels in QEMU: good images, and each tampered twin
	cd test && $(GO) test -v -count=1 -timeout 50m ./...

fresh: ## README's commands on a minimal Debian 12 and 13, with nothing but git and make (root)
	@scripts/fresh bookworm
	@scripts/fresh trixie

lint: ## gofmt, go mod tidy, go vet, staticcheck, shellcheck, known vulnerabilities
	@scripts/lint

demo: setup build ## build a Debian root, seal it, boot it, damage it: see it refused
	@scripts/demo

run: build ## the demo's disk again, with a console to look around in
	@scripts/demo run

bench: build ## figures: digests, stores, images and dumps, beside the C tools and cfsctl
	@scripts/bench

interop: build ## compare with the real C tools and cfsctl: digests, dumps, command lines
	@scripts/interop

FUZZTIME ?= 30s
fuzz: ## every fuzz target for FUZZTIME (30s)
	@scripts/fuzz $(FUZZTIME)

PREFIX ?= /usr
# Prints the completions; when building for another machine, set it to one that runs here.
MKIMAGE ?= $(BUILD)/mkimage
install: build ## programs, the C tools' names, dracut module, man pages, completions, docs: below DESTDIR/PREFIX
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin $(BUILD)/mkimage
	ln -sf mkimage $(DESTDIR)$(PREFIX)/bin/mkcomposefs
	ln -sf mkimage $(DESTDIR)$(PREFIX)/bin/composefs-info
	install -d $(DESTDIR)$(PREFIX)/sbin
	ln -sf ../bin/mkimage $(DESTDIR)$(PREFIX)/sbin/mount.composefs
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man1 $(wildcard man/*.1)
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/lib/composefs $(BUILD)/composefs-setup-root
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man8 $(wildcard man/*.8)
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/composefs-go $(wildcard docs/*.md)
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(MKIMAGE) completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/mkimage
	$(MKIMAGE) completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_mkimage
	$(MKIMAGE) completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/mkimage.fish
	$(MAKE) -C dracut install DESTDIR=$(DESTDIR) PREFIX=$(PREFIX)

clean: ## what was built; not the cache
	rm -rf $(BUILD)
