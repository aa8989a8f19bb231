// TTIText
