//go:build !purego

#include "textflag.h"

// The constants of sum256x2. Source: FIPS 180-4, sections 4.2.2, 5.1.1 and 5.3.3.

// WORDS puts four words into a table, from an offset in bytes on.
#define WORDS(table, offset, a, b, c, d) \
	DATA table+(offset+0)(SB)/4, $a \
	DATA table+(offset+4)(SB)/4, $b \
	DATA table+(offset+8)(SB)/4, $c \
	DATA table+(offset+12)(SB)/4, $d

// initialState is H(0) in the order F E B A, H G D C.
WORDS(·initialState, 0, 0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667)
WORDS(·initialState, 16, 0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372)
GLOBL ·initialState(SB), NOPTR|RODATA, $32

// reverseWords makes PSHUFB reverse the bytes of each word.
WORDS(·reverseWords, 0, 0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f)
GLOBL ·reverseWords(SB), NOPTR|RODATA, $16

// roundConstants is K.
WORDS(·roundConstants, 0, 0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5)
WORDS(·roundConstants, 16, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5)
WORDS(·roundConstants, 32, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3)
WORDS(·roundConstants, 48, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174)
WORDS(·roundConstants, 64, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc)
WORDS(·roundConstants, 80, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da)
WORDS(·roundConstants, 96, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7)
WORDS(·roundConstants, 112, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967)
WORDS(·roundConstants, 128, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13)
WORDS(·roundConstants, 144, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85)
WORDS(·roundConstants, 160, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3)
WORDS(·roundConstants, 176, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070)
WORDS(·roundConstants, 192, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5)
WORDS(·roundConstants, 208, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3)
WORDS(·roundConstants, 224, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208)
WORDS(·roundConstants, 240, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2)
GLOBL ·roundConstants(SB), NOPTR|RODATA, $256

// paddingConstants is K plus the words of the padding of 4096 bytes, that is of
// 0x80, zeros, and the length in bits, extended to 64.
WORDS(·paddingConstants, 0, 0xc28a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5)
WORDS(·paddingConstants, 16, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5)
WORDS(·paddingConstants, 32, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3)
WORDS(·paddingConstants, 48, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19c7174)
WORDS(·paddingConstants, 64, 0x649b69c1, 0x3fbe47a6, 0x0fe1edc6, 0x240cc3cc)
WORDS(·paddingConstants, 80, 0x4fe9346f, 0x5fb484b2, 0x61b9bf1e, 0xf6f9e0e2)
WORDS(·paddingConstants, 96, 0x904651d2, 0xcf776683, 0xb071aacd, 0x45598de9)
WORDS(·paddingConstants, 112, 0x6e024795, 0xe1a53a4c, 0x01579c54, 0x7ed2a5d2)
WORDS(·paddingConstants, 128, 0x5543dff8, 0x24306163, 0xcbe96064, 0x088b74dd)
WORDS(·paddingConstants, 144, 0x8cef495f, 0x27644e60, 0xfa4494c7, 0xc85ad905)
WORDS(·paddingConstants, 160, 0xae229301, 0x3cc6aca8, 0xced0f30e, 0x0054346d)
WORDS(·paddingConstants, 176, 0xaa185a78, 0xbf2f214a, 0xc070f8f5, 0x2bfa9c81)
WORDS(·paddingConstants, 192, 0x2ee7c2f3, 0x060f5920, 0x19f02ca9, 0xf4d1cc5c)
WORDS(·paddingConstants, 208, 0x4368bd9b, 0xc154267a, 0xec10f2ef, 0xf0bf5abd)
WORDS(·paddingConstants, 224, 0xb1561710, 0xcc85b5a6, 0x55e9155c, 0xeb7ba3e0)
WORDS(·paddingConstants, 240, 0x0f037e93, 0x2ae3e945, 0xa2affabf, 0x694563d1)
GLOBL ·paddingConstants(SB), NOPTR|RODATA, $256
