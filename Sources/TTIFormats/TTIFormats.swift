// TTIFormats
