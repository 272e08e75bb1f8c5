/a	@ 03/69a36fe856043f6475e9da1a38e9b406df859bf6f23ca56b9e14722d7e4c1e
/d1/	
/d1/b
/d1/early
/d2/	
/d2/c
/d2/late
/dev
/dev2
/i
/sl	-> target
/sl2
/z
