// TTICore
