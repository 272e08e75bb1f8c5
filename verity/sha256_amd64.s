//go:build !purego

#include "textflag.h"

// sum256x2 hashes two blocks side by side. SHA256RNDS2, which does two rounds, needs
// the result of the one before it, and waits for it longer than the processor
// needs to start another one. One stream therefore leaves the unit idle for much
// of the time; the rounds of a second stream fill the gaps.
//
//	               stream a        stream b
//	rest of block  SI              BX
//	state          X2 X3           X8 X9          A B E F, C D G H: A, C highest
//	last 16 words  X4 X5 X6 X7     X10 … X13      four a register, first lowest
//	state before   0(SP) 16(SP)    32(SP) 48(SP)
//	scratch        X1              X14
//
//	X0   words plus constants: SHA256RNDS2 reads them nowhere else
//	X15  what makes PSHUFB reverse the bytes of each word
//	R8   round constants, later what stands for the padding
//	CX   counts
//	DI   dst
//
// That the streams take turns with X0 costs nothing: the processor renames
// registers. A group is four rounds, as many as a register has words for; its
// number is i, from 0 to 15, and W(i) are its words. Macros take the registers of
// stream a, then of b.

// LOAD reads W(i) from a block, where it is big-endian.
#define LOAD(i, block, w) \
	MOVOU  (i*16)(block), w \
	PSHUFB X15, w

// EXTEND finishes W(i), which FIPS 180-4, section 6.2.2, makes of earlier words:
//
//	W[t] = σ1(W[t-2]) + W[t-7] + (σ0(W[t-15]) + W[t-16])
//
// BEGIN put the sum in parentheses into w. W[t-7] lies across w2 = W(i-2) and
// w1 = W(i-1). SHA256MSG2 adds σ1, for which it takes two words from w1 and two
// from its own result.
#define EXTEND(w, w1, w2, scratch) \
	MOVO       w1, scratch     \
	PALIGNR    $4, w2, scratch \
	PADDD      scratch, w      \
	SHA256MSG2 w1, w

// BEGIN turns w = W(i-4), of no other use any more, into what EXTEND wants of it.
// w3 is W(i-3).
#define BEGIN(w, w3) SHA256MSG1 w3, w

// ROUNDS does a group for both streams, with its constants and the words in a and
// b. The first SHA256RNDS2 of a stream puts the
// new A B E F where C D G H was; what was A B E F is the new C D G H. The second
// one, with the upper two words, puts both back in their places.
#define ROUNDS(constants, a, b) \
	MOVOU       constants, X0   \
	MOVO        X0, X14         \
	PADDD       a, X0           \
	PADDD       b, X14          \
	PSHUFD      $0x0e, X0, X1   \
	SHA256RNDS2 X0, X2, X3      \
	MOVO        X14, X0         \
	PSHUFD      $0x0e, X14, X14 \
	SHA256RNDS2 X0, X8, X9      \
	MOVO        X1, X0          \
	SHA256RNDS2 X0, X3, X2      \
	MOVO        X14, X0         \
	SHA256RNDS2 X0, X9, X8

// LOADED is a group whose words come from the blocks.
#define LOADED(i, a, b) \
	LOAD(i, SI, a) \
	LOAD(i, BX, b) \
	ROUNDS((i*16)(R8), a, b)

// EXTENDED is a group whose words are made.
#define EXTENDED(i, a, a1, a2, b, b1, b2) \
	EXTEND(a, a1, a2, X1)  \
	EXTEND(b, b1, b2, X14) \
	ROUNDS((i*16)(R8), a, b)

// FOLLOWED is EXTENDED that also begins W(i+2), for which W(i-2) can be given up.
#define FOLLOWED(i, a, a1, a2, b, b1, b2) \
	EXTENDED(i, a, a1, a2, b, b1, b2) \
	BEGIN(a2, a1)                     \
	BEGIN(b2, b1)

// SAVE and ADD stand around 64 rounds: their result is added to the state before.
#define SAVE \
	MOVOU X2, 0(SP)  \
	MOVOU X3, 16(SP) \
	MOVOU X8, 32(SP) \
	MOVOU X9, 48(SP)

#define ADD \
	MOVOU 0(SP), X1   \
	PADDD X1, X2      \
	MOVOU 16(SP), X14 \
	PADDD X14, X3     \
	MOVOU 32(SP), X1  \
	PADDD X1, X8      \
	MOVOU 48(SP), X14 \
	PADDD X14, X9

// DIGEST writes a state as A B C D, E F G H, each big-endian.
#define DIGEST(abef, cdgh, dst) \
	MOVO       abef, X0        \
	PUNPCKHQDQ cdgh, X0        \
	PUNPCKLQDQ cdgh, abef      \
	PSHUFD     $0xb1, X0, X0   \
	PSHUFD     $0xb1, abef, X1 \
	PSHUFB     X15, X0         \
	PSHUFB     X15, X1         \
	MOVOU      X0, (dst)(DI)   \
	MOVOU      X1, (dst+16)(DI)

// func sum256x2(dst *[64]byte, a, b *[4096]byte)
TEXT ·sum256x2(SB), NOSPLIT, $64-24
	MOVQ  dst+0(FP), DI
	MOVQ  a+8(FP), SI
	MOVQ  b+16(FP), BX
	LEAQ  ·roundConstants(SB), R8
	MOVOU ·reverseWords(SB), X15
	MOVOU ·initialState+0(SB), X2
	MOVOU ·initialState+16(SB), X3
	MOVO  X2, X8
	MOVO  X3, X9
	MOVL  $(4096/64), CX

data:
	SAVE
	LOADED(0, X4, X10)
	LOADED(1, X5, X11)
	BEGIN(X4, X5)
	BEGIN(X10, X11)
	LOADED(2, X6, X12)
	BEGIN(X5, X6)
	BEGIN(X11, X12)
	LOADED(3, X7, X13)
	FOLLOWED(4, X4, X7, X6, X10, X13, X12)
	FOLLOWED(5, X5, X4, X7, X11, X10, X13)
	FOLLOWED(6, X6, X5, X4, X12, X11, X10)
	FOLLOWED(7, X7, X6, X5, X13, X12, X11)
	FOLLOWED(8, X4, X7, X6, X10, X13, X12)
	FOLLOWED(9, X5, X4, X7, X11, X10, X13)
	FOLLOWED(10, X6, X5, X4, X12, X11, X10)
	FOLLOWED(11, X7, X6, X5, X13, X12, X11)
	FOLLOWED(12, X4, X7, X6, X10, X13, X12)
	FOLLOWED(13, X5, X4, X7, X11, X10, X13)
	EXTENDED(14, X6, X5, X4, X12, X11, X10)
	EXTENDED(15, X7, X6, X5, X13, X12, X11)
	ADD
	ADDQ  $64, SI
	ADDQ  $64, BX
	DECL  CX
	JNE   data

	// The padding of 4096 bytes is always the same. Its words are added to the
	// constants already, so that here they are zero.
	SAVE
	LEAQ  ·paddingConstants(SB), R8
	MOVL  $16, CX
	PXOR  X4, X4

padding:
	ROUNDS((R8), X4, X4)
	ADDQ  $16, R8
	DECL  CX
	JNE   padding
	ADD

	DIGEST(X2, X3, 0)
	DIGEST(X8, X9, 32)
	RET

// func cpuid(leaf uint32) (eax, ebx, ecx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-20
	MOVL leaf+0(FP), AX
	XORL CX, CX
	CPUID
	MOVL AX, eax+8(FP)
	MOVL BX, ebx+12(FP)
	MOVL CX, ecx+16(FP)
	RET
