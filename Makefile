# make help lists the targets. Everything that is built is in build/; downloads and what
# takes minutes to make are in ~/.cache/composefs-go, see CONTRIBUTING.md.
SHELL := /bin/bash
.DEFAULT_GOAL := build
BUILD := build
GO ?= go
export CGO_ENABLED := 0

# Programs of e2fsprogs, fdisk and others are in directories that aren't on an ordinary
# user's PATH, and root in a container may have no HOME, which Go needs.
export PATH := $(PATH):/usr/sbin:/sbin
ifndef HOME
export HOME := $(shell echo ~)
endif

# Flags for everything that we ship: small and reproducible.
SHIP := -trimpath -buildvcs=false -ldflags "-s -w"
# Inlining makes the initramfs program 100 kB larger and a boot no faster: what takes time
# there is hashing, which is in assembly.
SMALL := -gcflags=all=-l

.PHONY: help setup build test test-unit coverage test-vm fresh demo run bench interop lint fuzz clean install
.PHONY: $(BUILD)/mkimage $(BUILD)/composefs-setup-root

help: ## print this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## install what building, testing and the demo need (apt; as root or with sudo)
	@scripts/setup

build: $(BUILD)/mkimage $(BUILD)/composefs-setup-root ## build both programs, in build/

# Go knows better than make whether a program is out of date.
$(BUILD)/mkimage:
	@$(GO) build $(SHIP) -o $@ ./cmd/mkimage
$(BUILD)/composefs-setup-root:
	@$(GO) build $(SHIP) $(SMALL) -o $@ ./cmd/composefs-setup-root

test: setup lint test-unit test-vm ## run all tests: cheap ones first, then the boots in QEMU

test-unit: build ## run the tests that need no VM
	@export COMPOSEFS_TEST_KERNEL_ROOT=$$(scripts/kernel trixie) && set -x && $(GO) test ./...

coverage: ## measure the test coverage of the packages that verify; fails below 95 % (root)
	@scripts/coverage

test-vm: build ## boot real kernels in QEMU: good images, and tampered twins of each
	cd test && $(GO) test -v -count=1 -timeout 50m ./...

fresh: ## run README's commands on a minimal Debian 12 and 13 with only git and make (root)
	@scripts/fresh bookworm
	@scripts/fresh trixie

lint: ## check the source: gofmt, go mod tidy, go vet, staticcheck, shellcheck, known vulnerabilities
	@scripts/lint

demo: setup build ## make a Debian root, seal it, boot it, damage it, and see it refused
	@scripts/demo

run: build ## boot the demo's disk again, with a console to look around
	@scripts/demo run

bench: build ## measure digests, stores, images and dumps, and compare with the C tools and cfsctl
	@scripts/bench

interop: build ## compare digests, dumps and command lines with the real C tools and cfsctl
	@scripts/interop

FUZZTIME ?= 30s
fuzz: ## run every fuzz target for FUZZTIME (30s)
	@scripts/fuzz $(FUZZTIME)

PREFIX ?= /usr
# The program that prints the completions. When building for another architecture, set it
# to an mkimage that runs here.
MKIMAGE ?= $(BUILD)/mkimage
install: build ## install programs below DESTDIR/PREFIX, links with the C tools' names, dracut module, manual pages, completions, docs
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

clean: ## remove what was built, but not the cache
	rm -rf $(BUILD)
