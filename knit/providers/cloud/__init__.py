"""How the large clouds tell who is asking: credentials of AWS, Azure and Google."""
