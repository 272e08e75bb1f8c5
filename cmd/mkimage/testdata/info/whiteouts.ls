/d/	
/d/r
/d/w1
/d/w2
/plain/	
/wh
