package verity

// Explain lets the tests see what is made of errors that this machine's kernel
// can't be made to give.
var Explain = explain
