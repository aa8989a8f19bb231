// TTIGeneration
