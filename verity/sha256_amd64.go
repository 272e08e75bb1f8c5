//go:build !purego

package verity

// sum256x2 writes the SHA-256 hashes of a and b to dst. It needs a processor with the SHA
// extensions, see hasSum256x2.
//
//go:noescape
func sum256x2(dst *[64]byte, a, b *[BlockSize]byte)

// cpuid runs the instruction of that name for the leaf, with sub-leaf 0.
func cpuid(leaf uint32) (eax, ebx, ecx uint32)

// hasSum256x2 says whether blocks are hashed in pairs. Only tests change it.
var hasSum256x2 = hasSHAExtensions()

// hasSHAExtensions reports whether the processor has all that sum256x2 uses.
// Source: Intel's manual, volume 2, CPUID.
func hasSHAExtensions() bool {
	const (
		ssse3 = 1 << 9  // leaf 1, ECX: PSHUFB, PALIGNR
		sha   = 1 << 29 // leaf 7, EBX
	)
	highest, _, _ := cpuid(0)
	if highest < 7 {
		return false
	}
	_, _, ecx := cpuid(1)
	_, ebx, _ := cpuid(7)
	return ecx&ssse3 != 0 && ebx&sha != 0
}
