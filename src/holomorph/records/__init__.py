"""Records: what the commands found, as frozen data; the report imports only these."""
