"""Where reports of pilots come in, by HTTPS or through a spool file, and what is stored of them."""
