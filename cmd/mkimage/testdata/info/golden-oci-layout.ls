/hello-link.txt
/hello.txt
/usr/	
