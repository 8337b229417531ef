"""Who is calling: certificates, proxies, tokens and signatures, and the files they are judged by."""
